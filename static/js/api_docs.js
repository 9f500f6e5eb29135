// Swagger UI on our own document; requests it makes carry the session's token against forgery.
{
  const place = document.getElementById("api");
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  // What Swagger UI leaves unsaid for people who do not see the page
  function tidy() {
    place.querySelector("#servers")?.setAttribute("aria-label", place.dataset.servers);
    for (const [part, name] of [[".information-container", place.dataset.about], [".scheme-container", place.dataset.servers]]) {
      place.querySelector(part)?.setAttribute("role", "region");
      place.querySelector(part)?.setAttribute("aria-label", name);
    }
    for (const heading of place.querySelectorAll("h3.opblock-tag, .models > h4")) heading.setAttribute("aria-level", "2");
  }

  new MutationObserver(tidy).observe(place, { childList: true, subtree: true });
  window.SwaggerUIBundle({
    url: place.dataset.url,
    dom_id: "#api",
    deepLinking: false, // its links sit inside buttons, which assistive technology cannot reach
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    persistAuthorization: false,
    onComplete: tidy,
    requestInterceptor: (request) => {
      if (token) request.headers["X-CSRF-Token"] = token;
      return request;
    },
  });
}
