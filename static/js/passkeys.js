// Forms that a passkey answers: they ask the server what to sign, the browser for the signature, and post it. Binary parts
// travel as base64url, as in WebAuthn's JSON forms, which older browsers do not write themselves.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

function text(buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function readable(options) {
  const known = (list = []) => list.map((one) => ({ ...one, id: bytes(one.id) }));
  const read = { ...options, challenge: bytes(options.challenge) };
  if (options.user) read.user = { ...options.user, id: bytes(options.user.id) };
  if (options.allowCredentials) read.allowCredentials = known(options.allowCredentials);
  if (options.excludeCredentials) read.excludeCredentials = known(options.excludeCredentials);
  return read;
}

function written(credential) {
  const response = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = text(credential.response[name]);
  }
  const { id, type, rawId, authenticatorAttachment } = credential;
  return JSON.stringify({ id, type, rawId: text(rawId), response, ...(authenticatorAttachment && { authenticatorAttachment }) });
}

async function answer(form) {
  const making = "make" in form.dataset;
  const options = await window.holdfast.send("POST", form.dataset.passkey, { body: making ? undefined : JSON.parse(form.dataset.ask) });
  const publicKey = readable(options.publicKey);
  const credential = await (making ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
  form.elements.credential.value = written(credential);
  if (form.elements.keep) form.elements.keep.value = document.querySelector("[type=checkbox][name=keep]:checked")?.value ?? "";
}

if (window.PublicKeyCredential && window.isSecureContext) {
  for (const none of document.querySelectorAll("[data-passkey-none]")) none.hidden = true;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    const fault = form.querySelector("[data-passkey-fault]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      fault.hidden = true;
      event.submitter?.setAttribute("aria-busy", "true");
      try {
        await answer(form);
        form.submit();
      } catch (error) {
        event.submitter?.removeAttribute("aria-busy");
        if (error.codes?.includes("step_up_required")) location.reload(); // the page asks for it, and comes back
        fault.hidden = false;
        console.info(error);
      }
    });
  }
}
