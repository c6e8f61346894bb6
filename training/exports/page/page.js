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
  dream.over = false;
};

// One step; `noise` is drawn unless it is given. Returns all outputs of the model.
dream.step = async (action, temperature, noise = dream.noise()) => {
  const given = { action: dream.floats(action, 1, action.length), temperature: dream.floats([temperature], 1, 1) };
  const outputs = await dream.models["step.onnx"].run({ ...dream.state, ...given, ...noise });
  dream.state = Object.fromEntries(dream.about.state.map((name) => [name, outputs[`next_${name}`]]));
  return outputs;
};

dream.keys = () => {
  const held = (name) => Number(dream.held.has(name));
  const right = held("ArrowRight") - held("ArrowLeft") || dream.touch[0];
  const up = held("ArrowUp") - held("ArrowDown") || dream.touch[1];
  return dream.about.keyboard_actions[3 * (up + 1) + right + 1];
};

dream.action = async () => {
  const driver = element("driver").value;
  if (!driver) return dream.keys();
  return Array.from((await dream.models[`controllers/${driver}.onnx`].run(dream.state)).action.data);
};

dream.tick = async () => {
  const outputs = await dream.step(await dream.action(), Number(element("temperature").value));
  dream.score += outputs.reward.data[0];
  dream.over = Boolean(outputs.terminated.data[0]) || Number(dream.state.ticks.data[0]) >= dream.about.tick_limit;
  element("danger").value = outputs.termination_probability.data[0];
  const ticks = dream.state.ticks.data[0];
  element("status").textContent = `${dream.over ? "Over: " : ""}${ticks} ticks, score ${dream.score.toFixed(1)}`;
};

dream.draw = async () => {
  const { frames } = await dream.models["decoder.onnx"].run({ latents: dream.state.latents });
  const image = new ImageData(64, 64);
  for (let pixel = 0; pixel < 64 * 64; pixel++) {
    image.data.set(frames.data.subarray(3 * pixel, 3 * pixel + 3), 4 * pixel);
    image.data[4 * pixel + 3] = 255;
  }
  element("picture").getContext("2d").putImageData(image, 0, 0);
  const canvas = element("latents"), pen = canvas.getContext("2d"), values = dream.state.latents.data;
  const width = canvas.width / values.length;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#6af";
  values.forEach((value, i) => pen.fillRect(i * width, 32, width - 1, Math.max(-32, Math.min(32, -8 * value))));
};

dream.listen = () => {
  addEventListener("keydown", (event) => {
    if (event.key === "r") dream.again = true;
    if (event.key.startsWith("Arrow") && event.target.tagName !== "INPUT" && event.target.tagName !== "SELECT") {
      dream.held.add(event.key);
      event.preventDefault();
    }
  });
  addEventListener("keyup", (event) => dream.held.delete(event.key));
  addEventListener("blur", () => dream.held.clear());
  const picture = element("picture"), side = (x) => (x > 0.15) - (x < -0.15);
  const touch = ({ buttons, offsetX, offsetY }) => {
    const x = offsetX / picture.clientWidth - 0.5, y = offsetY / picture.clientHeight - 0.5;
    dream.touch = buttons ? [side(x), side(-y)] : [0, 0];
  };
  for (const name of ["pointerdown", "pointermove", "pointerup"]) picture.addEventListener(name, touch);
  for (const name of ["pointercancel", "pointerleave"]) picture.addEventListener(name, () => (dream.touch = [0, 0]));
  element("latents").addEventListener("pointerdown", ({ offsetX, offsetY, target }) => {
    const i = Math.floor((offsetX / target.clientWidth) * dream.about.latent);
    dream.set = [i, (0.5 - offsetY / target.clientHeight) * 8];
  });
  element("restart").addEventListener("click", () => (dream.again = true));
  element("temperature").addEventListener("input", (event) => (element("shown").value = event.target.value));
};

dream.turn = async () => {
  if (dream.again || (dream.over && Date.now() > dream.rest)) await dream.begin();
  dream.again = false;
  if (dream.set) dream.state.latents.data[dream.set[0]] = dream.set[1];
  dream.set = null;
  if (dream.over) return;
  await dream.tick();
  await dream.draw();
  dream.rest = Date.now() + 1500;
};

dream.start = async () => {
  try {
    await dream.load();
    const { title, temperature, controllers, ticks_per_second, frame_skip } = dream.about;
    element("title").textContent = `A dream of ${title}`;
    element("temperature").value = element("shown").value = temperature;
    for (const name of controllers) element("driver").add(new Option(name, name));
    dream.listen();
    await dream.begin();
    dream.ready = true;
    for (let next = performance.now(); !dream.stopped; ) {
      await dream.turn();
      next = Math.max(next + (1000 * frame_skip) / ticks_per_second, performance.now());
      await new Promise((resolve) => setTimeout(resolve, next - performance.now()));
    }
  } catch (error) {
    dream.error = element("status").textContent = `This browser cannot show the dream: ${error}`;
  }
};
