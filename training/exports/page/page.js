// A dream in the browser: the models of `export --onnx`, run by ONNX Runtime Web. Files are base64 of gzip in scripts, so
// that the page also works from file://, where a browser fetches nothing.
"use strict";
const dream = { files: {}, models: {}, held: new Set(), touch: [0, 0] };
const element = (name) => document.getElementById(name);

dream.bytes = async (name) => {
  const packed = Uint8Array.from(atob(dream.files[name]), (letter) => letter.charCodeAt(0));
  delete dream.files[name];
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

dream.load = async () => {
  const code = new Blob([await dream.bytes("runtime.mjs")], { type: "text/javascript" });
  dream.ort = await import(URL.createObjectURL(code));
  dream.ort.env.wasm.numThreads = 1;
  dream.ort.env.wasm.wasmBinary = (await dream.bytes("runtime.wasm")).buffer;
  dream.about = JSON.parse(new TextDecoder().decode(await dream.bytes("world.json")));
  for (const name of Object.keys(dream.files)) {
    dream.models[name] = await dream.ort.InferenceSession.create(await dream.bytes(name));
  }
};

dream.floats = (values, ...shape) => new dream.ort.Tensor("float32", Float32Array.from(values), shape);

dream.noise = () => {
  const size = dream.about.latent;
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const uniform = () => Math.min(Math.random(), 0.9999999);  // as float32, it stays below 1
  return {
    noise_uniform: dream.floats(Array.from({ length: size }, uniform), 1, size),
    noise_normal: dream.floats(Array.from({ length: size }, normal), 1, size),
    noise_termination: dream.floats([uniform()], 1),
  };
};

dream.begin = async () => {
  const which = BigInt(Math.floor(Math.random() * dream.about.initial_states));
  const inputs = { which: new dream.ort.Tensor("int64", [which], [1]), normal: dream.noise().noise_normal };
  dream.state = await dream.models["begin.onnx"].run(inputs);
  dream.score = 0;
  dream.over = dream.again = false;
  dream.hold();
  element("message").hidden = true;
};

// Show the state's latents; the next tick starts a step.
dream.hold = () => {
  dream.before = dream.after = dream.state.latents.data;
  dream.phase = dream.about.frame_skip;
};

// One step; `noise` is drawn unless it is given. Returns all outputs of the model.
dream.step = async (action, temperature, noise = dream.noise()) => {
  const given = { action: dream.floats(action, 1, action.length), temperature: dream.floats([temperature], 1, 1) };
  const outputs = await dream.models["step.onnx"].run({ ...dream.state, ...given, ...noise });
  dream.state = Object.fromEntries(dream.about.state.map((name) => [name, outputs[`next_${name}`]]));
  return outputs;
};

// Right and up of the first gamepad: its cross, its left stick, or its first two buttons for up and down.
dream.gamepad = () => {
  const pad = (navigator.getGamepads?.() ?? []).find((each) => each?.connected);
  if (!pad) return [0, 0];
  const pressed = (i) => Number(pad.buttons[i]?.pressed ?? false);
  const pushed = (x) => (x > 0.5) - (x < -0.5);
  const right = pressed(15) - pressed(14) || pushed(pad.axes[0] ?? 0);
  const up = pressed(12) - pressed(13) || pressed(0) - pressed(1) || pushed(-(pad.axes[1] ?? 0));
  return [right, up];
};

dream.keys = () => {
  const held = (name) => Number(dream.held.has(name));
  const pad = dream.gamepad();
  const right = held("ArrowRight") - held("ArrowLeft") || dream.touch[0] || pad[0];
  const up = held("ArrowUp") - held("ArrowDown") || dream.touch[1] || pad[1];
  return dream.about.keyboard_actions[3 * (up + 1) + right + 1];
};

dream.action = async () => {
  const driver = element("driver").value;
  if (!driver) return dream.keys();
  return Array.from((await dream.models[`controllers/${driver}.onnx`].run(dream.state)).action.data);
};

dream.advance = async () => {
  const outputs = await dream.step(await dream.action(), Number(element("temperature").value));
  const ticks = Number(dream.state.ticks.data[0]), danger = outputs.termination_probability.data[0];
  dream.score += outputs.reward.data[0];
  dream.over = Boolean(outputs.terminated.data[0]) || ticks >= dream.about.tick_limit;
  [dream.before, dream.after, dream.phase] = [dream.after, dream.state.latents.data, 0];
  element("danger").value = danger;
  element("percent").value = `${Math.round(100 * danger)} %`;
  element("score").textContent = `Score ${dream.score.toFixed(0)} \u00b7 ${(ticks / dream.about.ticks_per_second).toFixed(1)} s`;
};

dream.draw = async () => {
  const share = dream.phase / dream.about.frame_skip;
  const latents = dream.after.map((value, i) => dream.before[i] + share * (value - dream.before[i]));
  const { frames } = await dream.models["decoder.onnx"].run({ latents: dream.floats(latents, 1, latents.length) });
  const image = new ImageData(64, 64), source = frames.data, target = image.data;
  for (let from = 0, to = 0; to < target.length; to += 4) {
    for (let colour = 0; colour < 3; colour++) target[to + colour] = source[from++];
    target[to + 3] = 255;
  }
  element("picture").getContext("2d").putImageData(image, 0, 0);
  dream.bars(latents);
};

dream.bars = (latents) => {
  const canvas = element("latents"), pen = canvas.getContext("2d"), width = canvas.width / latents.length;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#6af";
  latents.forEach((value, i) => pen.fillRect(i * width, 32, width - 1, Math.max(-32, Math.min(32, -8 * value))));
};

dream.press = (key, down) => {
  dream.held[down ? "add" : "delete"](key);
  for (const button of document.querySelectorAll("#arrows button")) {
    button.classList.toggle("held", dream.held.has(button.dataset.key));
  }
};

dream.listenToKeys = () => {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "r" || event.key === "R") dream.again = true;
    if (event.key.startsWith("Arrow") && event.target.tagName !== "INPUT" && event.target.tagName !== "SELECT") {
      dream.press(event.key, true);
      event.preventDefault();
    }
  });
  addEventListener("keyup", (event) => dream.press(event.key, false));
  addEventListener("blur", () => dream.held.forEach((key) => dream.press(key, false)));
};

dream.listenToButtons = () => {
  const acts = (i) => String(dream.about.keyboard_actions[i]) !== String(dream.about.keyboard_actions[4]);
  const shown = { ArrowDown: acts(1), ArrowLeft: acts(3), ArrowRight: acts(5), ArrowUp: acts(7) };
  for (const button of document.querySelectorAll("#arrows button")) {
    const key = button.dataset.key;
    button.hidden = !shown[key];
    button.addEventListener("pointerdown", () => dream.press(key, true));
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      button.addEventListener(name, () => dream.press(key, false));
    }
  }
  element("restart").addEventListener("click", () => (dream.again = true));
  element("temperature").addEventListener("input", (event) => (element("shown").value = event.target.value));
  element("temperature").addEventListener("pointerup", (event) => event.target.blur());  // the arrows steer again
  element("driver").addEventListener("change", (event) => event.target.blur());
};

dream.listenToPictures = () => {
  const picture = element("picture"), latents = element("latents");
  const side = (x) => (x > 0.15) - (x < -0.15);
  const touch = ({ buttons, offsetX, offsetY }) => {
    const x = offsetX / picture.clientWidth - 0.5, y = offsetY / picture.clientHeight - 0.5;
    dream.touch = buttons ? [side(x), side(-y)] : [0, 0];
  };
  for (const name of ["pointerdown", "pointermove", "pointerup"]) picture.addEventListener(name, touch);
  for (const name of ["pointercancel", "pointerleave"]) picture.addEventListener(name, () => (dream.touch = [0, 0]));
  const drag = ({ buttons, offsetX, offsetY }) => {
    const i = Math.floor((offsetX / latents.clientWidth) * dream.about.latent);
    if (buttons && i >= 0 && i < dream.about.latent) dream.set = [i, (0.5 - offsetY / latents.clientHeight) * 8];
  };
  for (const name of ["pointerdown", "pointermove"]) latents.addEventListener(name, drag);
};

// One tick: M steps every `frame_skip` ticks, and the frames in between decode interpolated latents.
dream.tick = async () => {
  if (dream.again || (dream.over && performance.now() > dream.rest)) await dream.begin();
  if (dream.set && !dream.over) {
    dream.state.latents.data[dream.set[0]] = dream.set[1];
    dream.hold();
  }
  dream.set = null;
  if (dream.phase === dream.about.frame_skip) {
    if (dream.over) return;
    await dream.advance();
  }
  dream.phase += 1;
  await dream.draw();
  if (dream.over && dream.phase === dream.about.frame_skip) {
    dream.rest = performance.now() + 2000;
    element("message").textContent = "The dream is over.";
    element("message").hidden = false;
  }
};

dream.start = async () => {
  try {
    await dream.load();
    const { temperature, controllers, ticks_per_second } = dream.about;
    element("temperature").value = element("shown").value = temperature;
    for (const name of controllers) element("driver").add(new Option(name, name));
    dream.listenToKeys();
    dream.listenToButtons();
    dream.listenToPictures();
    await dream.begin();
    dream.ready = true;
    for (let next = performance.now(); !dream.stopped; ) {
      await dream.tick();
      next = Math.max(next + 1000 / ticks_per_second, performance.now());
      await new Promise((resolve) => setTimeout(resolve, next - performance.now()));
    }
    dream.idle = true;
  } catch (error) {
    dream.error = element("message").textContent = `This browser cannot show the dream: ${error}`;
    element("message").hidden = false;
  }
};
