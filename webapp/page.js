// What Gradio's components lack: names and keys for those who see no picture or use no mouse. Runs once, on load.
() => {
  const set = (element, values) => {
    for (const [name, value] of Object.entries(values))
      if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  };

  // Pictures to choose from are called by their captions, not "Thumbnail 2 of 8".
  const nameThumbnails = () => {
    for (const button of document.querySelectorAll("button.thumbnail-item")) {
      const name = button.querySelector(".caption-label")?.textContent.trim(), picture = button.querySelector("img");
      if (!name) continue;
      set(button, {"aria-label": name, "aria-pressed": button.classList.contains("selected")});
      button.toggleAttribute("data-due", name.endsWith("…"));  // a picture of the grid that is not drawn yet
      if (picture?.alt) picture.alt = "";  // else the name is read twice
    }
  };

  // These two are pictures, which do nothing when they are pressed: no stop for the Tab key.
  const namePair = () => {
    for (const button of document.querySelectorAll("#crop button, #inversion button")) {
      const label = button.closest(".block").querySelector("label").textContent.trim();
      set(button, {"aria-label": `${label}: ${button.querySelector("img")?.alt ?? ""}`, tabindex: -1});
    }
  };

  // Of the tabs one is reached with the Tab key; arrow keys, Home and End lead to the others.
  const tabs = () => [...document.querySelectorAll("#edit-card [role=tablist] [role=tab]")];
  const orderTabs = () => {
    for (const tab of tabs()) set(tab, {tabindex: tab.getAttribute("aria-selected") === "true" ? 0 : -1});
  };
  const moveTab = (event) => {
    const all = tabs(), at = all.indexOf(event.target.closest?.("[role=tab]"));
    const to = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1}[event.key];
    if (at < 0 || to === undefined) return;
    const next = all[(to + all.length) % all.length];
    event.preventDefault();
    next.click();
    next.focus();
  };

  // The line between before and after is a slider, in hundredths of the picture's width.
  const divider = () => document.querySelector("#before-after [data-testid=slider]");
  const picture = () => document.querySelector("#before-after img").getBoundingClientRect();
  const share = () => {
    const left = divider().parentElement.getBoundingClientRect().left + new DOMMatrix(divider().style.transform).m41;
    return Math.round((100 * (left - picture().left)) / picture().width);
  };
  const nameDivider = () => {
    if (!divider() || !picture().width) return;
    const values = {"aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share()};
    set(divider(), {role: "slider", tabindex: 0, "aria-label": "Before to the left, after to the right", ...values});
  };
  const moveDivider = (event) => {
    if (event.target !== divider()) return;
    const now = share();
    const to = {
      ArrowLeft: now - 2, ArrowRight: now + 2, ArrowDown: now - 2, ArrowUp: now + 2,
      PageDown: now - 10, PageUp: now + 10, Home: 0, End: 100,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    // Gradio's line follows the mouse alone, so the key becomes a short drag.
    const clientX = picture().left + (picture().width * Math.min(Math.max(to, 0), 100)) / 100;
    divider().dispatchEvent(new MouseEvent("mousedown", {view: window, bubbles: true, clientX}));
    window.dispatchEvent(new MouseEvent("mouseup", {view: window, clientX}));
  };

  // "Upload file" asks for the file at once, and so does the phone's button; Gradio would only clear the photo away.
  const chooseFile = (event) => {
    const field = document.querySelector("#photo input[type=file]");
    if (!field || !event.target.closest?.("#own-photo, #photo .source-selection button:first-of-type")) return;
    event.stopPropagation();
    field.dispatchEvent(new MouseEvent("click"));  // which does not reach the area around it: that lets none through
  };

  // The first stop for the Tab key leads to the words.
  const skip = (event) => {
    if (!event.target.closest?.("#skip")) return;
    event.preventDefault();
    document.querySelector("#wish textarea")?.focus();
  };

  // Who comes to the words writes new ones: those that stand there are selected, until the next press of the pointer.
  let came = false;
  const selectWords = (event) => {
    const field = document.querySelector("#wish textarea");
    if (event.type === "focusin") came = event.target === field;
    else if (!came || event.target !== field || field.selectionStart !== field.selectionEnd) came = false;
    if (came) field.select();
    if (event.type === "click") came = false;
  };

  // Where a keyboard covers half of the screen, it goes once the words are said.
  const putKeyboardAway = (event) => {
    const said = event.key === "Enter" && event.target.matches?.("#wish textarea");
    if (said && matchMedia("(pointer: coarse)").matches) setTimeout(() => event.target.blur());
  };

  // The pair of texts in the line of an edit leads to its fields.
  const editTexts = (event) => {
    if (event.target.closest?.("#how .pair")) document.querySelector("#edit-texts").click();
  };

  // The galleries of mappers and styles are drawn for the visitor's face when they are looked at; the line of the edit
  // names the face.
  const drawn = {};
  const drawGallery = (id) => {
    const gallery = document.querySelector(`#${id}`), face = document.querySelector("#how [data-face]")?.dataset.face;
    if (!face || !gallery?.checkVisibility()) return;
    const wanted = face + gallery.textContent;  // with another caption one is new, or has been downloaded
    if (wanted === drawn[id]) return;
    drawn[id] = wanted;
    document.querySelector(`#draw-${id}`).click();
  };

  // Where the connection is lost, Gradio starts no event any more that could tell that what ran has ended. It loads the
  // page again once the server answers.
  const tellLoss = () => {
    const told = [...document.querySelectorAll(".toast-message-text")].map((message) => message.textContent);
    if (window.renewing || !told.some((text) => text.includes("Connection to the server was lost"))) return;
    window.renewing = true;  // so that nobody is asked before that
    const lost = "The connection is lost, so this has ended.", stop = document.querySelector("#stop:not(:disabled)");
    for (const bar of document.querySelectorAll("progress")) {
      if (bar.position === 1 || (bar.closest("#progress") && !stop)) continue;
      bar.value = 0;
      bar.nextElementSibling.textContent = lost;
    }
    if (!stop) return;
    const words = document.querySelector("#edit-words textarea");
    words.value = words.value.replace(/\nOptimizing.*/, `\n${lost}`);
    document.querySelector("#optimize").textContent = "Optimize";
    stop.disabled = true;
  };

  const drawGalleries = () => ["mappers", "styles"].forEach(drawGallery);
  const tend = () => [namePair, orderTabs, nameDivider, drawGalleries, tellLoss].forEach((part) => part());
  let due = false;
  new MutationObserver(() => {
    nameThumbnails();  // before anybody sees or hears them
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; tend(); });
  }).observe(document.body, {
    subtree: true, childList: true, characterData: true,
    attributeFilter: ["class", "style", "alt", "aria-label", "aria-selected"],
  });
  document.addEventListener("click", skip);
  document.addEventListener("click", editTexts);
  document.addEventListener("click", chooseFile, true);
  document.addEventListener("keydown", moveTab);
  document.addEventListener("keydown", putKeyboardAway);
  for (const kind of ["focusin", "click"]) document.addEventListener(kind, selectWords);
  document.addEventListener("keydown", moveDivider);

  // Gradio's dropdown takes every key for a sign to open, those that lead out of it too.
  const leading = ["Tab", "Shift", "Control", "Alt", "Meta"];
  document.addEventListener("keydown", (event) => {
    if (leading.includes(event.key) && event.target.closest?.("#compare")) event.stopPropagation();
  }, true);

  // What the visitor touched last: the page scrolls by itself only for the sake of that, see panels/result.py.
  for (const kind of ["pointerdown", "keydown"])
    document.addEventListener(kind, (event) => { window.touched = event.target; }, true);

  // Gradio's client warns twice of each upload, of a stub in its own code.
  const warn = console.warn;
  console.warn = (...words) => { if (words[0] !== "Method not implemented.") warn(...words); };
  nameThumbnails();
  tend();
}
