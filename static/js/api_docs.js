// Swagger UI on our own document; requests it makes carry the session's token against forgery.
{
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  window.SwaggerUIBundle({
    url: document.getElementById("api").dataset.url,
    dom_id: "#api",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    persistAuthorization: false,
    requestInterceptor: (request) => {
      if (token) request.headers["X-CSRF-Token"] = token;
      return request;
    },
  });
}
