// Paints images from noise on this page: the schedule and the weights come from live.json and live.onnx, the network
// runs in WebAssembly, and the samplers are those of chapter 11, line by line.

// mulberry32 through Box and Muller, the same numbers as `noise` in .ci/make_live.py
function normals(seed) {
  let state = seed >>> 0, spare = null
  const uniform = () => {
    state = (state + 0x6D2B79F5) >>> 0
    let t = Math.imul(state ^ state >>> 15, state | 1)
    t ^= t + Math.imul(t ^ t >>> 7, t | 61)
    return (((t ^ t >>> 14) >>> 0) + .5) / 2**32
  }
  return () => {
    if (spare !== null) { const z = spare; spare = null; return z }
    const r = Math.sqrt(-2 * Math.log(uniform())), phi = 2 * Math.PI * uniform()
    spare = r * Math.sin(phi)
    return r * Math.cos(phi)
  }
}

const roundEven = v => { const r = Math.round(v); return v % 1 === .5 && r % 2 ? r - 1 : r }
const timesteps = (T, n) => Array.from({length: n + 1}, (_, i) => roundEven(T * (n - i) / n))

// The clean image that the network's output implies, clipped, and the noise that goes with it (chapter 06)
function predict(config, x, t, out) {
  const c = Math.sqrt(config.alpha_bars[t]), s = Math.sqrt(1 - config.alpha_bars[t])
  const x0 = x.map((v, i) => {
    const raw = config.prediction === 'eps' ? (v - s * out[i]) / c : config.prediction === 'v' ? c * v - s * out[i] : out[i]
    return Math.min(1, Math.max(-1, raw))
  })
  return {x0, eps: x.map((v, i) => (v - c * x0[i]) / s)}
}

// One step t → s of each sampler, for one image; `past` is what the last step left (chapters 06 and 11)
const samplers = {
  ddim: ({a, s}, x, {x0, eps}) => x0.map((v, i) => Math.sqrt(a[s]) * v + Math.sqrt(1 - a[s]) * eps[i]),
  ancestral: ({a, t, s, normal}, x, {x0}) => {
    const alpha = a[t] / a[s], beta = 1 - alpha, sigma = s > 0 ? Math.sqrt(beta * (1 - a[s]) / (1 - a[t])) : 0
    return x.map((v, i) => (Math.sqrt(a[s]) * beta * x0[i] + Math.sqrt(alpha) * (1 - a[s]) * v) / (1 - a[t]) + (s > 0 ? sigma * normal() : 0))
  },
  dpm_solver: ({a, t, s, past}, x, {x0}) => {
    const lambda = u => Math.log(a[u] / (1 - a[u])) / 2, h = lambda(s) - lambda(t)
    const d = s > 0 && past.x0 ? x0.map((v, i) => v + h / (2 * past.h) * (v - past.x0[i])) : x0
    Object.assign(past, {x0, h})
    return x.map((v, i) => Math.sqrt((1 - a[s]) / (1 - a[t])) * v - Math.sqrt(a[s]) * Math.expm1(-h) * d[i])
  },
}

// Yields {t, x, x0} for all images, x_t and the guess made from it, from pure noise to the finished pictures
async function* paint(network, config, sampler, seeds, steps) {
  const n = config.channels * config.size ** 2, a = config.alpha_bars, ts = timesteps(a.length - 1, steps)
  const draws = seeds.map(normals), pasts = seeds.map(() => ({}))
  let x = draws.map(normal => Array.from({length: n}, () => normal()))
  for (let k = 0; k < steps; k++) {
    const t = ts[k], s = ts[k + 1], guesses = []
    for (const one of x) guesses.push(predict(config, one, t, await network(one, t)))
    yield {t, x, x0: guesses.map(guess => guess.x0)}
    x = x.map((one, j) => samplers[sampler]({a, t, s, normal: draws[j], past: pasts[j]}, one, guesses[j]))
  }
  yield {t: 0, x, x0: x}
}

function draw(canvas, images, {size, channels}) {
  const columns = Math.ceil(Math.sqrt(images.length)), pad = 1
  canvas.width = columns * (size + pad) - pad
  canvas.height = Math.ceil(images.length / columns) * (size + pad) - pad
  const context = canvas.getContext('2d', {willReadFrequently: true})
  images.forEach((image, j) => {
    const tile = context.createImageData(size, size)
    for (let i = 0; i < size * size; i++) {
      for (let c = 0; c < 3; c++) tile.data[4 * i + c] = Math.round(127.5 * (1 + image[(channels === 3 ? c : 0) * size * size + i]))
      tile.data[4 * i + 3] = 255
    }
    context.putImageData(tile, j % columns * (size + pad), Math.floor(j / columns) * (size + pad))
  })
}

async function get(name, base) {
  const response = await fetch(new URL(name, base))
  if (!response.ok) throw new Error(`${name}: ${response.status}`)
  return response
}

async function load(base) {
  const folder = new URL('site_libs/ort/', base).href
  const [ort, config, weights] = await Promise.all([import(folder + 'ort.wasm.min.mjs'),
    get('live.json', base).then(r => r.json()), get('live.onnx', base).then(r => r.arrayBuffer())])
  ort.env.wasm.wasmPaths = folder
  ort.env.wasm.numThreads = 1
  const session = await ort.InferenceSession.create(weights, {executionProviders: ['wasm']})
  const shape = [1, config.channels, config.size, config.size]
  const network = async (x, t) => (await session.run({
    x: new ort.Tensor('float32', Float32Array.from(x), shape), t: new ort.Tensor('int64', [BigInt(t)], [1])})).out.data
  return {config, network}
}

const markup = `
<form class="live-controls">
  <label>Sampler <select name="sampler"><option value="ddim">DDIM<option value="dpm_solver">DPM-Solver++(2M)<option value="ancestral">ancestral</select></label>
  <label>Seed <input name="seed" type="number" min="0" max="4294967290" step="1" value="0"></label>
  <label>Steps <input name="steps" type="range" min="2" max="250" step="1" value="50"><output name="count">50</output></label>
  <button>Paint</button>
</form>
<div class="live-pictures">
  <figure><canvas class="live-x" width="1" height="1" role="img" aria-label="Nothing painted yet"></canvas><figcaption>x<sub>t</sub>, the images so far</figcaption></figure>
  <figure><canvas class="live-x0" width="1" height="1" role="img" aria-label="Nothing painted yet"></canvas><figcaption>x̂<sub>0</sub>, the network's guess of the result</figcaption></figure>
</div>
<label class="live-time">Look back <input name="time" type="range" min="0" max="0" step="1" value="0" disabled><output name="t">t = …</output></label>
<p class="live-status" role="status"></p>`

function start(root) {
  const base = document.baseURI, say = text => { root.querySelector('.live-status').textContent = text }
  root.innerHTML = markup
  const part = name => root.querySelector(name), form = part('form'), time = part('[name=time]')
  let ready = null, frames = [], config = null
  const show = k => {
    const {t, x, x0} = frames[k]
    draw(part('.live-x'), x, config)
    draw(part('.live-x0'), x0, config)
    for (const [name, what] of [['.live-x', 'the pictures'], ['.live-x0', "the network's guess of the finished pictures"]])
      part(name).setAttribute('aria-label', `Four small garments: ${what} at t = ${t}`)
    part('[name=t]').textContent = `t = ${t}`
    time.setAttribute('aria-valuetext', `t = ${t}`)
  }
  const seeds = () => [0, 1, 2, 3].map(i => (Math.floor(+form.seed.value) >>> 0) + i)
  // before anything is painted: the noise that this seed gives, where every chain begins
  const begin = async () => {
    config ??= await get('live.json', base).then(r => r.json())
    if (frames.length) return
    draw(part('.live-x'), seeds().map(seed => Array.from({length: config.channels * config.size ** 2}, normals(seed))), config)
    part('.live-x').setAttribute('aria-label', 'Four squares of pure noise')
    part('[name=t]').textContent = `t = ${config.alpha_bars.length - 1}`
  }
  form.seed.addEventListener('input', () => begin().catch(() => {}))
  begin().catch(() => {})   // the button says what is wrong
  form.steps.addEventListener('input', () => { part('[name=count]').textContent = form.steps.value })
  time.addEventListener('input', () => show(+time.value))
  form.addEventListener('submit', async event => {
    event.preventDefault()
    const button = part('button'), steps = +form.steps.value
    button.disabled = time.disabled = true
    try {
      root.dataset.state = 'loading'
      if (!ready) say('Fetching the network …')
      const loaded = await (ready ??= load(base))
      config = loaded.config
      root.dataset.state = 'painting'
      frames = []
      const started = performance.now()
      let shown = 0
      for await (const frame of paint(loaded.network, config, form.sampler.value, seeds(), steps)) {
        frames.push(frame)
        if (performance.now() - shown < 30) continue
        show(frames.length - 1)
        say(`Step ${frames.length} of ${steps}`)
        await new Promise(requestAnimationFrame)
        shown = performance.now()
      }
      time.max = frames.length - 1
      time.value = time.max
      show(frames.length - 1)
      say(`Four pictures, ${steps} steps, ${((performance.now() - started) / 1000).toFixed(1)} seconds in this browser. The slider goes back through the steps.`)
      root.dataset.state = 'done'
      time.disabled = false
    } catch (error) {
      ready = null
      root.dataset.state = 'failed'
      say(`This did not work: ${error.message}`)
    }
    button.disabled = false
  })
  root.dataset.state = 'idle'
  say('Press Paint: the first time, the network and what runs it are fetched, about 14 MB.')
}

const root = document.querySelector('#live')
if (typeof WebAssembly === 'object') start(root)
else {
  root.dataset.state = 'failed'
  root.textContent = 'Your browser has no WebAssembly, or it is switched off, so this page cannot run the network. The same pictures can be painted with the command ddpm_lit_sample.'
}
