// The canvas of brush.py, in Gradio's `element`: the face that is seen, and over it what is painted. The component's
// value is the mask, a byte for each of 64 x 64 pixels, in base64; "" while nothing is painted.
const SIDE = 64, COLOUR = "#e5484d", FAINT = 32;  // as in brush.py
const canvas = element.querySelector("canvas"), face = element.querySelector("img");
const [size, erase, clear] = ["input", "[aria-pressed]", ".clear"].map((part) => element.querySelector(part));
const paint = canvas.getContext("2d", {willReadFrequently: true});
let told = "";

const small = () => {
  const copy = Object.assign(document.createElement("canvas"), {width: SIDE, height: SIDE});
  return copy.getContext("2d", {willReadFrequently: true});
};
const tell = () => {
  const copy = small();
  copy.imageSmoothingQuality = "high";
  copy.drawImage(canvas, 0, 0, SIDE, SIDE);
  const opacity = copy.getImageData(0, 0, SIDE, SIDE).data.filter((_, i) => i % 4 === 3);
  const mask = opacity.map((value) => value < FAINT ? 0 : value);
  told = mask.some((value) => value > 0) ? btoa(String.fromCharCode(...mask)) : "";
  props.value = told;
  trigger("input");
};
const show = () => {
  const value = props.value ?? "";
  if (value === told) return;
  told = value;
  paint.clearRect(0, 0, canvas.width, canvas.height);
  if (!value) return;
  const copy = small(), mask = copy.createImageData(SIDE, SIDE), colour = [0xe5, 0x48, 0x4d];
  [...atob(value)].forEach((letter, i) => mask.data.set([...colour, letter.charCodeAt()], 4 * i));
  copy.putImageData(mask, 0, 0);
  paint.drawImage(copy.canvas, 0, 0, canvas.width, canvas.height);
};

// A stroke from point to point, also of a finger that leaves the canvas meanwhile.
let last = null;
const point = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
};
const stroke = (event) => {
  if (!last) return;
  const next = point(event);
  Object.assign(paint, {lineCap: "round", lineWidth: size.value, strokeStyle: COLOUR});
  paint.globalCompositeOperation = erase.ariaPressed === "true" ? "destination-out" : "source-over";
  paint.beginPath();
  paint.moveTo(...last);
  paint.lineTo(next[0] + 0.01, next[1]);  // a tap makes a dot; a line without a length would make nothing
  paint.stroke();
  paint.globalCompositeOperation = "source-over";
  last = next;
};
canvas.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  last = point(event);
  stroke(event);
});
canvas.addEventListener("pointermove", stroke);
for (const end of ["pointerup", "pointercancel"])
  canvas.addEventListener(end, () => { if (last) tell(); last = null; });
erase.addEventListener("click", () => { erase.ariaPressed = String(erase.ariaPressed !== "true"); });
clear.addEventListener("click", () => {
  paint.clearRect(0, 0, canvas.width, canvas.height);
  erase.ariaPressed = "false";
  tell();
});

// The face is the picture that is seen.
const follow = () => {
  const seen = document.querySelectorAll("#before-after img")[1]?.src;
  if (seen && face.getAttribute("src") !== seen) face.src = seen;
};
new MutationObserver(follow).observe(document.querySelector("#result-card"), {
  subtree: true, childList: true, attributeFilter: ["src"],
});
follow();
watch("value", show);
show();
