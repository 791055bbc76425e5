// Compare a page with its output on one canvas, so that zoom, position and overlay are always the same for both.
// When zoomed in, draw full-resolution tiles, which are loaded only when visible.

const MOST_ZOOM = 4;
const RAMP = [[0, [33, 102, 172]], [0.25, [103, 169, 207]], [0.5, [253, 219, 119]], [0.75, [239, 138, 98]], [1, [178, 24, 43]]];
const LEVELS = {
  1: ["full resolution", [0, 158, 115]],
  2: ["half", [86, 180, 233]],
  4: ["a quarter", [230, 159, 0]],
  8: ["an eighth", [213, 94, 0]],
};
const OUTCOMES = [
  ["hardly changed, not read again", "#0072b2"],
  ["reads the same", "#0072b2"],
  ["reads differently", "#e69f00"],
  ["not read", "#d00000"],
  ["the source does not repeat it", "#9467bd"],
  ["OCR was sure of the source", "#0072b2"],
  ["OCR was not sure", "#8a8a8a"],
];

const viewers = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  let viewer = viewers.get(parentElement);
  if (!viewer) {
    viewer = new Viewer(parentElement.querySelector(".viewer"));
    viewers.set(parentElement, viewer);
  }
  viewer.show(data);
  return () => {
    viewer.end();
    viewers.delete(parentElement);
  };
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.stage = root.querySelector(".stage");
    this.canvas = root.querySelector("canvas");
    this.pen = this.canvas.getContext("2d");
    this.divider = root.querySelector(".divider");
    this.data = null;
    this.identity = null;
    this.focused = null;
    this.pictures = new Map();
    this.pointers = new Map();
    this.split = 0.5;
    this.layout = "divider";
    this.overlay = "none";
    this.opacity = 0.55;
    this.zoom = 1;
    this.at = { x: 0, y: 0 };
    this.isFitted = true;
    this.listen();
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.stage);
  }

  end() {
    this.watcher.disconnect();
    this.pictures.clear();
  }

  show(data) {
    this.data = data;
    this.heat = data.heat && painted(data.heat, heatColour);
    this.levels = data.levels && painted(data.levels, levelColour);
    const used = new Set([data.before, data.after].filter(Boolean).flatMap((one) => [one.preview, ...one.tiles]));
    for (const url of this.pictures.keys()) if (!used.has(url)) this.pictures.delete(url);
    this.root.querySelector(".tag.before").textContent = data.before.label;
    this.root.querySelector(".tag.after").textContent = data.after ? data.after.label : "";
    this.root.querySelector(".tag.after").hidden = !data.after;
    for (const [name, is_there] of [["heat", data.heat], ["levels", data.levels], ["words", data.words.length]]) {
      const button = this.root.querySelector(`[data-overlay="${name}"]`);
      button.disabled = !is_there;
      if (!is_there && this.overlay === name) this.overlay = "none";
    }
    if (data.identity !== this.identity) {
      this.identity = data.identity;
      this.isFitted = true;
    }
    const focus = data.focus && data.focus.join();
    if (focus && focus !== this.focused) this.lookAt(data.focus);
    this.focused = focus;
    this.resize();
    this.tell();
  }

  // ---- geometry

  get pane() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    return { width: this.layout === "beside" && this.data.after ? width / 2 : width, height };
  }

  get fitZoom() {
    return Math.min(this.pane.width / this.data.width, this.pane.height / this.data.height, 1);
  }

  resize() {
    if (!this.data || !this.stage.clientWidth) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.stage.clientWidth * ratio);
    this.canvas.height = Math.round(this.stage.clientHeight * ratio);
    if (this.isFitted) this.fit();
    this.draw();
  }

  fit() {
    this.zoom = this.fitZoom;
    this.at = { x: this.data.width / 2, y: this.data.height / 2 };
    this.isFitted = true;
  }

  // Zoom around a point of the pane, measured from its centre.
  zoomTo(zoom, dx = 0, dy = 0) {
    const wanted = Math.max(this.fitZoom / 2, Math.min(MOST_ZOOM, zoom));
    this.at.x += dx / this.zoom - dx / wanted;
    this.at.y += dy / this.zoom - dy / wanted;
    this.zoom = wanted;
    this.isFitted = false;
    this.move(0, 0);
  }

  move(dx, dy) {
    const held = (value, size) => Math.max(0, Math.min(size, value));
    this.at.x = held(this.at.x - dx / this.zoom, this.data.width);
    this.at.y = held(this.at.y - dy / this.zoom, this.data.height);
    if (dx || dy) this.isFitted = false;
    this.draw();
    this.tell();
  }

  lookAt([row, col, height, width]) {
    const zoom = Math.min(this.pane.width / (width * 4), this.pane.height / (height * 8));
    this.zoom = Math.max(this.fitZoom, Math.min(2, zoom));
    this.at = { x: col + width / 2, y: row + height / 2 };
    this.isFitted = false;
  }

  // ---- drawing

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      this.paint();
    });
  }

  paint() {
    const { pen, data } = this;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.stage;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const isBeside = this.layout === "beside" && data.after;
    const cut = isBeside ? width / 2 : data.after ? width * this.split : width;
    this.paintSide(data.before, 0, cut, isBeside ? width / 4 : width / 2, height / 2, ratio);
    if (data.after) this.paintSide(data.after, cut, width, isBeside ? (3 * width) / 4 : width / 2, height / 2, ratio);
    this.divider.hidden = !data.after || isBeside;
    this.divider.style.left = `${cut}px`;
  }

  paintSide(picture, left, right, middleX, middleY, ratio) {
    const { pen, data, zoom } = this;
    const x0 = middleX - this.at.x * zoom;
    const y0 = middleY - this.at.y * zoom;
    const across = (data.width / picture.width) * zoom;
    const down = (data.height / picture.height) * zoom;
    const device = (value) => Math.round(value * ratio);
    const place = (x, y, width, height) => {
      const from = [device(x0 + x * across), device(y0 + y * down)];
      return [...from, device(x0 + (x + width) * across) - from[0], device(y0 + (y + height) * down) - from[1]];
    };
    pen.save();
    pen.beginPath();
    pen.rect(device(left), 0, device(right) - device(left), this.canvas.height);
    pen.clip();
    pen.imageSmoothingEnabled = zoom * ratio < 2;
    pen.imageSmoothingQuality = "high";
    const preview = this.picture(picture.preview);
    if (preview) pen.drawImage(preview, ...place(0, 0, picture.width, picture.height));
    const isTooCoarse = preview && across * ratio > (1.02 * preview.naturalWidth) / picture.width;
    if (picture.tiles.length && isTooCoarse) {
      const columns = Math.ceil(picture.width / picture.tile);
      picture.tiles.forEach((url, number) => {
        const x = (number % columns) * picture.tile;
        const y = Math.floor(number / columns) * picture.tile;
        const box = place(x, y, Math.min(picture.tile, picture.width - x), Math.min(picture.tile, picture.height - y));
        const isSeen = box[0] < device(right) && box[0] + box[2] > device(left) && box[1] < this.canvas.height && box[1] + box[3] > 0;
        const tile = isSeen && this.picture(url);
        if (tile) pen.drawImage(tile, ...box);
      });
    }
    this.paintOverlay(x0, y0, device);
    pen.restore();
  }

  paintOverlay(x0, y0, device) {
    const { pen, data, zoom } = this;
    const map = this.overlay === "heat" ? this.heat : this.overlay === "levels" ? this.levels : null;
    if (map) {
      const side = data[this.overlay].tile * zoom;
      pen.save();
      pen.beginPath();
      pen.rect(device(x0), device(y0), device(data.width * zoom), device(data.height * zoom));
      pen.clip();
      pen.globalAlpha = this.opacity;
      pen.imageSmoothingEnabled = false;
      pen.drawImage(map, device(x0), device(y0), device(map.width * side), device(map.height * side));
      pen.restore();
    }
    if (this.overlay !== "words") return;
    const ratio = device(1000) / 1000;
    pen.globalAlpha = this.opacity;
    for (const [row, col, height, width, outcome] of data.words) {
      const isBad = outcome === 2 || outcome === 3;
      pen.strokeStyle = OUTCOMES[outcome][1];
      pen.lineWidth = (isBad ? 3 : 1) * ratio;
      pen.globalAlpha = isBad ? 1 : this.opacity;
      pen.strokeRect(device(x0 + col * zoom), device(y0 + row * zoom), device(width * zoom), device(height * zoom));
    }
    pen.globalAlpha = 1;
  }

  // Return an image if it is loaded; otherwise start loading it, and redraw when it arrives.
  picture(url) {
    let held = this.pictures.get(url);
    if (!held) {
      const image = new Image();
      held = { image, isThere: false };
      this.pictures.set(url, held);
      image.onload = () => {
        held.isThere = true;
        this.draw();
        this.tell();
      };
      image.src = new URL(url.replace(/^\//, ""), document.baseURI).href;
    }
    return held.isThere ? held.image : null;
  }

  // ---- labels

  tell() {
    const { data, stage } = this;
    this.root.querySelector(".zoom").textContent = `${Math.round(this.zoom * 100)} %`;
    this.divider.setAttribute("aria-valuenow", Math.round(this.split * 100));
    for (const name of ["layout", "overlay"])
      for (const button of this.root.querySelectorAll(`[data-${name}]`))
        button.setAttribute("aria-pressed", button.dataset[name] === this[name]);
    this.root.querySelector(".opacity").hidden = this.overlay === "none";
    const legend = this.root.querySelector(".legend");
    legend.replaceChildren(...this.legend());
    stage.dataset.zoom = this.zoom.toFixed(4);
    stage.dataset.split = this.split.toFixed(4);
    stage.dataset.overlay = this.overlay;
    stage.dataset.loaded = [...this.pictures.values()].filter((one) => one.isThere).length;
    stage.dataset.middle = `${Math.round(this.at.x)},${Math.round(this.at.y)}`;
    stage.dataset.identity = data.identity;
    stage.dataset.output = data.after ? data.after.preview : "";
  }

  legend() {
    const entry = (colour, text) => {
      const one = document.createElement("span");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = colour;
      one.append(swatch, text);
      return one;
    };
    const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
    if (this.overlay === "heat") {
      const ramp = document.createElement("span");
      ramp.className = "ramp";
      ramp.style.background = `linear-gradient(to right, ${RAMP.map(([at, c]) => `${css(c)} ${at * 100}%`).join(", ")})`;
      return ["Importance of each tile: 0, unimportant", ramp, "1, text, handwriting, a stamp or a picture"];
    }
    if (this.overlay === "levels") {
      const held = new Set(bytesOf(this.data.levels.values));
      return Object.entries(LEVELS).filter(([level]) => held.has(+level)).map(([, [text, colour]]) => entry(css(colour), text));
    }
    if (this.overlay === "words") {
      const counts = OUTCOMES.map(() => 0);
      for (const word of this.data.words) counts[word[4]] += 1;
      return OUTCOMES.map(([text, colour], number) => entry(colour, `${text}: ${counts[number]}`)).filter((_, number) => counts[number]);
    }
    return [];
  }

  // ---- input

  listen() {
    const { root, stage, divider } = this;
    root.querySelector(".bar").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button || !this.data) return;
      const { layout, overlay } = button.dataset;
      if (layout) this.layout = layout;
      if (overlay) this.overlay = overlay;
      if (button.dataset.do) this.do(button.dataset.do);
      if (layout && this.isFitted) this.fit();
      this.draw();
      this.tell();
    });
    root.querySelector(".opacity input").addEventListener("input", (event) => {
      this.opacity = event.target.value / 100;
      this.draw();
    });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { dx, dy } = this.fromMiddle(event);
      this.zoomTo(this.zoom * Math.exp(-event.deltaY / 400), dx, dy);
    }, { passive: false });
    stage.addEventListener("dblclick", (event) => {
      const { dx, dy } = this.fromMiddle(event);
      this.zoomTo(this.zoom * 2, dx, dy);
    });
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"])
      stage.addEventListener(name, (event) => {
        this.pointers.delete(event.pointerId);
        this.isDividing = false;
        stage.classList.remove("moving");
      });
    stage.addEventListener("keydown", (event) => this.press_key(event));
    divider.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      event.stopPropagation();
      this.divide(this.split + steps[event.key]);
    });
  }

  do(what) {
    if (what === "fit") this.fit();
    if (what === "in") this.zoomTo(this.zoom * 1.5);
    if (what === "out") this.zoomTo(this.zoom / 1.5);
    if (what === "full") this.zoomTo(1);
    if (what === "most") this.zoomTo(MOST_ZOOM);
    this.draw();
    this.tell();
  }

  divide(share) {
    this.split = Math.max(0, Math.min(1, share));
    this.draw();
    this.tell();
  }

  fromMiddle(event) {
    const box = this.stage.getBoundingClientRect();
    const x = event.clientX - box.left;
    const middle = this.layout === "beside" && this.data.after ? (x < box.width / 2 ? box.width / 4 : (3 * box.width) / 4) : box.width / 2;
    return { dx: x - middle, dy: event.clientY - box.top - box.height / 2 };
  }

  press(event) {
    if (!this.data) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.isDividing = event.composedPath().includes(this.divider);
    if (!this.isDividing) this.stage.classList.add("moving");
  }

  drag(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.isDividing) {
      const box = this.stage.getBoundingClientRect();
      this.divide((now.x - box.left) / box.width);
    } else if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(last.x - other.x, last.y - other.y);
      const after = Math.hypot(now.x - other.x, now.y - other.y);
      const { dx, dy } = this.fromMiddle({ clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 });
      if (before > 0) this.zoomTo((this.zoom * after) / before, dx, dy);
      this.move((now.x - last.x) / 2, (now.y - last.y) / 2);
    } else {
      this.move(now.x - last.x, now.y - last.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  press_key(event) {
    const steps = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
    const deeds = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "full", 4: "most" };
    if (event.ctrlKey || event.metaKey || event.altKey || !this.data) return;
    if (event.key in steps) this.move(...steps[event.key]);
    else if (event.key in deeds) this.do(deeds[event.key]);
    else if (event.key === "," || event.key === ".") this.divide(this.split + (event.key === "," ? -0.02 : 0.02));
    else return;
    event.preventDefault();
  }
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// Return a small canvas with one pixel per tile.
function painted(map, colourOf) {
  const canvas = document.createElement("canvas");
  canvas.width = map.cols;
  canvas.height = map.rows;
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(map.cols, map.rows);
  bytesOf(map.values).forEach((value, number) => pixels.data.set([...colourOf(value), 255], 4 * number));
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

function heatColour(value) {
  const at = value / 255;
  const next = Math.max(1, RAMP.findIndex(([stop]) => stop >= at));
  const [[from, low], [to, high]] = [RAMP[next - 1], RAMP[next]];
  return low.map((channel, number) => Math.round(channel + ((high[number] - channel) * (at - from)) / (to - from)));
}

function levelColour(level) {
  return (LEVELS[level] || LEVELS[1])[1];
}
