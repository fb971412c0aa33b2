/* The live FCN: under the still picture img#live, a button that puts a photo and its label map in its place.
   The net and its runtime are loaded on the first click, into a worker (worker.js). Nothing leaves the page. */
(() => {
  "use strict";

  const folder = new URL(".", document.currentScript.src);
  const still = document.getElementById("live");
  const SIDE = 512; // the longer side of what the net gets, at most, in pixels
  const SMALLEST = 32; // the shorter side, at least
  const STEP = 0.02; // of the arrow keys, relative to the picture
  const STAGES = ["FCN-32s", "FCN-16s", "FCN-8s"];
  const START = `
    <p class="live-start">
      <button type="button" class="live-button live-run">Run it in your browser</button>
      <span>Loads 15 MB once. Your photos stay on your device.</span>
    </p>`;
  const DEMO = `
    <div class="live-photos" role="group" aria-label="Photo">
      <label class="live-button">Your photo<input type="file" accept="image/*"></label>
      <span class="live-hint">or drop one here</span>
    </div>
    <div class="live-panes">
      <div class="live-pane"><canvas class="live-photo" role="img" aria-label="Photo"></canvas></div>
      <div class="live-pane" tabindex="0" role="application" aria-roledescription="label map"
           aria-label="Label map: the arrow keys move a pointer that names the class under it">
        <canvas class="live-map"></canvas>
      </div>
    </div>
    <div class="live-controls">
      <label class="live-stage">
        <input type="range" min="0" max="2" value="2" aria-label="Stage">
        <span class="live-stops" aria-hidden="true"><span>32s</span><span>16s</span><span>8s</span></span>
      </label>
      <output class="live-class" aria-live="polite">Point at the picture.</output>
      <label class="live-gpu" hidden><input type="checkbox">Use the GPU (WebGPU, loads 7 MB more)</label>
    </div>
    <ul class="live-shares" aria-label="Shares of the classes"></ul>`;

  if (!still) return;
  const demo = document.createElement("div");
  demo.className = "live";
  demo.innerHTML = `${START}<p class="live-status" role="status"></p>`;
  (still.closest("a") ?? still).after(demo);
  const $ = (selector) => demo.querySelector(selector);

  let settings; // classes, palette, photos
  let worker; // runs the net on the CPU or, if the reader asks for it, on the GPU
  let gpuFailure = ""; // a sentence
  let chosen = 0; // number of the last photo that was chosen
  let photo; // the one that is shown: { width, height }
  let asked = 0; // number of the last request to the worker
  let labels; // of that photo, for each stage
  let pointer; // x and y in 0..1

  const reason = unable();
  if (reason) {
    $(".live-start").remove();
    say(reason, "error");
  } else {
    $(".live-run").addEventListener("click", start);
  }

  /** Why this browser or this page cannot run the net; empty if it can. */
  function unable() {
    if (location.protocol === "file:") {
      return "This page was opened as a file, and from files browsers do not run a net. " +
        "Run make serve and open http://127.0.0.1:8000 to try it.";
    }
    if (typeof WebAssembly !== "object") return "This browser has no WebAssembly, or blocks it; the net needs it.";
    if (typeof DecompressionStream !== "function") return "This browser is too old to run the net: update it.";
    return "";
  }

  /** A line below the pictures; `state` is "ready", "busy", "done" or "error". */
  function say(text, state) {
    $(".live-status").textContent = text;
    demo.dataset.state = state;
  }

  async function start() {
    $(".live-run").disabled = true;
    say("Loading …", "busy");
    try {
      const response = await fetch(new URL("net.json", folder));
      if (!response.ok) throw new Error(`net.json cannot be loaded (${response.status})`);
      settings = await response.json();
    } catch (error) {
      $(".live-run").disabled = false;
      say(`The demo cannot start: ${error.message}.`, "error");
      return;
    }
    $(".live-start").outerHTML = DEMO;
    still.hidden = true;
    for (const { file, name } of settings.photos) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "live-thumb";
      button.innerHTML = `<img alt="${name}" src="${new URL(file, folder)}">`;
      button.addEventListener("click", () => show(new URL(file, folder), name));
      $(".live-photos label").before(button);
    }
    listen();
    offerGpu();
    $(".live-thumb").focus({ preventScroll: true });
    $(".live-thumb").click();
  }

  /** Show the switch if this browser has a GPU for pages. */
  async function offerGpu() {
    const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
    $(".live-gpu").hidden = !adapter;
  }

  function startWorker() {
    const name = onGpu() ? "webgpu" : "wasm";
    worker = new Worker(new URL("worker.js", folder), { type: "module", name });
    worker.onmessage = ({ data }) => receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      worker = undefined;
      receive({ id: asked, error: "worker.js does not run in this browser" });
    };
  }

  const onGpu = () => $(".live-gpu input").checked;

  /** Label the photo again, with the net where the switch says. */
  function restart() {
    worker?.terminate();
    worker = undefined;
    if (photo) label();
  }

  function listen() {
    $("input[type=file]").addEventListener("change", ({ target }) => {
      if (target.files[0]) open(target.files[0]);
      target.value = ""; // so that the same file can be chosen again
    });
    $("input[type=range]").addEventListener("input", draw);
    $(".live-gpu input").addEventListener("change", () => {
      gpuFailure = "";
      restart();
    });
    for (const pane of demo.querySelectorAll(".live-pane")) {
      pane.append(Object.assign(document.createElement("i"), { className: "live-cross", hidden: true }));
      for (const type of ["pointermove", "pointerdown"]) pane.addEventListener(type, (event) => follow(event, pane));
    }
    $(".live-pane[tabindex]").addEventListener("keydown", step);
    demo.addEventListener("dragover", (event) => {
      event.preventDefault();
      demo.classList.add("live-drop");
    });
    demo.addEventListener("dragleave", () => demo.classList.remove("live-drop"));
    demo.addEventListener("drop", (event) => {
      event.preventDefault();
      demo.classList.remove("live-drop");
      if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
    });
  }

  // Photos

  /** A photo of the reader. */
  async function open(file) {
    const url = URL.createObjectURL(file);
    await show(url, file.name);
    URL.revokeObjectURL(url);
  }

  /** Show the photo at `url`, upright as its EXIF entry says, and label it. */
  async function show(url, name) {
    const id = ++chosen;
    const image = new Image();
    image.src = url;
    try {
      await image.decode();
    } catch {
      say(`${name} is not a picture that this browser can read: try a JPEG or a PNG.`, "error");
      return;
    }
    if (id !== chosen) return; // another one has been chosen meanwhile
    const scale = Math.min(1, SIDE / Math.max(image.naturalWidth, image.naturalHeight));
    const [width, height] = [image.naturalWidth, image.naturalHeight].map(
      (side) => Math.max(SMALLEST, Math.round(side * scale)),
    );
    const canvas = $(".live-photo");
    const context = resized(canvas, width, height);
    context.imageSmoothingQuality = "high";
    context.fillStyle = "white"; // behind what is transparent
    context.fillRect(0, 0, width, height);
    context.drawImage(image, 0, 0, width, height);
    canvas.setAttribute("aria-label", `Photo: ${name}`);
    resized($(".live-map"), width, height);
    demo.style.setProperty("--ratio", width / height);
    for (const thumb of demo.querySelectorAll(".live-thumb")) {
      thumb.setAttribute("aria-pressed", thumb.firstChild.src === String(url));
    }
    labels = undefined;
    photo = { width, height };
    $(".live-shares").replaceChildren();
    label();
  }

  /** Let the worker label the photo that is shown. */
  function label() {
    say("Labelling …", "busy");
    const { width, height } = photo;
    const { data } = $(".live-photo").getContext("2d").getImageData(0, 0, width, height);
    if (!worker) startWorker();
    worker.postMessage({ id: ++asked, pixels: data, width, height }, [data.buffer]);
  }

  function resized(canvas, width, height) {
    Object.assign(canvas, { width, height });
    return canvas.getContext("2d", { willReadFrequently: true });
  }

  function receive({ id, labels: found, milliseconds, error, loaded, total }) {
    if (error && onGpu()) {
      gpuFailure = ` The GPU failed: ${error}.`;
      $(".live-gpu input").checked = false;
      restart();
    } else if (loaded) {
      const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
      say(`Loading the net: ${megabytes(loaded)}${total ? ` of ${megabytes(total)}` : ""} MB`, "busy");
    } else if (id !== asked) {
      return; // another photo is shown by now
    } else if (error) {
      say(`The net cannot run here: ${error}.`, "error");
    } else {
      labels = found;
      draw();
      const { width, height } = photo;
      const time = `${Math.round(milliseconds)} ms on the ${onGpu() ? "GPU" : "CPU"}`;
      say(`${width} × ${height} pixels, all three stages in ${time}.${gpuFailure}`, "done");
      demo.dataset.labelled = id;
      Object.assign(demo, { labels, milliseconds });
    }
  }

  // What is shown

  const stage = () => Number($("input[type=range]").value);

  function draw() {
    $("input[type=range]").setAttribute("aria-valuetext", STAGES[stage()]);
    if (!labels) return;
    const shown = labels[stage()];
    const pixels = new ImageData(photo.width, photo.height);
    const counts = new Array(settings.classes.length).fill(0);
    shown.forEach((label, i) => {
      pixels.data.set(settings.palette[label], 4 * i);
      pixels.data[4 * i + 3] = 255;
      counts[label]++;
    });
    $(".live-map").getContext("2d").putImageData(pixels, 0, 0);
    drawShares(counts.map((count) => (100 * count) / shown.length));
    name();
  }

  function drawShares(shares) {
    const present = [...shares.keys()].filter((label) => shares[label] >= 0.05);
    present.sort((a, b) => shares[b] - shares[a]);
    $(".live-shares").replaceChildren(...present.map((label) => {
      const item = document.createElement("li");
      item.append(swatch(label), `${settings.classes[label]} ${shares[label].toFixed(1)} %`);
      return item;
    }));
  }

  function swatch(label) {
    const patch = document.createElement("i");
    patch.className = "live-swatch";
    patch.style.background = `rgb(${settings.palette[label]})`;
    return patch;
  }

  // The pointer

  function follow(event, pane) {
    const box = pane.querySelector("canvas").getBoundingClientRect();
    point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  function step(event) {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    if (x === undefined) return;
    event.preventDefault();
    const from = pointer ?? [0.5, 0.5];
    point(from[0] + x * STEP, from[1] + y * STEP);
  }

  function point(x, y) {
    pointer = [x, y].map((value) => Math.min(1, Math.max(0, value)));
    for (const cross of demo.querySelectorAll(".live-cross")) {
      cross.hidden = false;
      cross.style.left = `${100 * pointer[0]}%`;
      cross.style.top = `${100 * pointer[1]}%`;
    }
    name();
  }

  /** Name the class under the pointer. */
  function name() {
    if (!labels || !pointer) return;
    const [column, row] = [photo.width, photo.height].map((n, i) => Math.min(n - 1, Math.floor(pointer[i] * n)));
    const label = labels[stage()][row * photo.width + column];
    if ($(".live-class").dataset.label === String(label)) return; // nothing new to read aloud
    $(".live-class").dataset.label = label;
    $(".live-class").replaceChildren(swatch(label), settings.classes[label]);
  }
})();
