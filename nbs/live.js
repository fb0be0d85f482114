// Paints pictures from noise on this page, with words or without: the networks come as ONNX files and run in WebAssembly,
// the samplers are those of chapter 11, guidance is that of chapter 15, and words are read as in chapter 18, line by line.

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

// The clean image that the network's output implies, clipped if it is an image, and the noise that goes with it (chapter 06)
function predict(config, x, t, out) {
  const c = Math.sqrt(config.alpha_bars[t]), s = Math.sqrt(1 - config.alpha_bars[t])
  const x0 = x.map((v, i) => {
    const raw = config.prediction === 'eps' ? (v - s * out[i]) / c : config.prediction === 'v' ? c * v - s * out[i] : out[i]
    return config.clip ? Math.min(1, Math.max(-1, raw)) : raw
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
export async function* paint(network, config, sampler, seeds, steps) {
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

// How alike two words are, from 0 to 1, as Python's difflib has it: the letters of their common blocks, the longest first
function likeness(a, b) {
  const common = (a, b) => {
    let most = 0, from = 0, to = 0
    for (let i = 0; i < a.length; i++) for (let j = 0; j < b.length; j++) {
      let k = 0
      while (i + k < a.length && a[i + k] === b[j + k]) k++
      if (k > most) [most, from, to] = [k, i, j]
    }
    return most && most + common(a.slice(0, from), b.slice(0, to)) + common(a.slice(from + most), b.slice(to + most))
  }
  return 2 * common(a, b) / (a.length + b.length)
}

const quoted = text => text.includes("'") ? `"${text}"` : `'${text}'`

// A caption as numbers, 0 after the last; an error names the first unknown word and known ones like it (chapter 18)
export function tokenize({words, length}, text) {
  const said = text.toLowerCase().replace(/[.,;:!?"]/g, ' ').split(/\s+/).filter(word => word)
  if (said.length > length) throw new RangeError(`a caption has at most ${length} words, got ${said.length}: ${quoted(text)}`)
  for (const word of said) {
    if (words.includes(word)) continue
    const near = words.slice(1).map(known => ({known, alike: likeness(known, word)})).filter(({alike}) => alike >= .5)
      .sort((a, b) => b.alike - a.alike || (a.known < b.known ? 1 : -1)).slice(0, 3).map(({known}) => known)
    throw new RangeError(`unknown word ${quoted(word)}: ` + (near.length ? `did you mean ${near.join(' or ')}?` : `known are ${words.slice(1).join(', ')}`))
  }
  return Array.from({length}, (_, i) => i < said.length ? words.indexOf(said[i]) : 0)
}

// What could stand in place of the word at the end of a text: first what follows the word before it in captions
function completions({words, follows}, text) {
  const [, before, begun] = /^(.*?)(\S*)$/s.exec(text.toLowerCase())
  const likely = follows[before.trim().split(/\s+/).pop()] ?? []
  const all = begun ? [...new Set([...likely, ...words.slice(1)])] : likely
  return all.filter(word => word !== begun && word.startsWith(begun)).map(word => text.slice(0, before.length) + word)
}

// The first three channels, or the only one, as colours; `bound` is the number that becomes 255
function draw(canvas, images, size, channels, bound = 1) {
  const columns = Math.ceil(Math.sqrt(images.length)), pad = 1
  canvas.width = columns * (size + pad) - pad
  canvas.height = Math.ceil(images.length / columns) * (size + pad) - pad
  const context = canvas.getContext('2d', {willReadFrequently: true})
  images.forEach((image, j) => {
    const tile = context.createImageData(size, size)
    for (let i = 0; i < size * size; i++) {
      for (let c = 0; c < 3; c++) tile.data[4 * i + c] = Math.round(127.5 * (1 + image[(channels < 3 ? 0 : c) * size * size + i] / bound))
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

// The two painters: their files, what a reader can set, what the network is asked with that, and how a guess becomes a picture
const painters = {
  garments: {
    config: 'live.json', graphs: ['live.onnx'], megabytes: 14, command: 'ddpm_lit_sample', steps: [250, 50],
    controls: () => '<label>Sampler <select name="sampler"><option value="ddim">DDIM<option value="dpm_solver">DPM-Solver++(2M)<option value="ancestral">ancestral</select></label>',
    captions: ['x<sub>t</sub>, the images so far', 'x̂<sub>0</sub>, the network\'s guess of the result'],
    asked: form => ({sampler: form.sampler.value, what: 'Four small garments'}),
    network: (asked, unet) => (x, t) => unet({x, t: [t]}),
    decode: async x0 => x0, picture: ({size, channels}) => ({size, channels}), bound: 1,
  },
  words: {
    config: 'live_text.json', graphs: ['live_text.onnx', 'live_decoder.onnx'], megabytes: 17, command: 'ddpm_lit_paint', steps: [100, 30],
    controls: id => `<div class="live-words"><label for="${id}-caption">What do you want to see?</label>
      <input id="${id}-caption" name="caption" role="combobox" aria-autocomplete="list" aria-expanded="false" aria-controls="${id}-next" aria-describedby="${id}-status"
        value="a red sneaker on a blue ground" autocomplete="off" autocapitalize="none" spellcheck="false" enterkeyhint="go">
      <ul id="${id}-next" class="live-next" role="listbox" aria-label="Words that may come next" hidden></ul></div>
      <label>Guidance <input name="guidance" type="range" min="0" max="8" step="0.5" value="3"><output aria-live="off">3</output></label>`,
    captions: ['z<sub>t</sub>, the latents so far (3 of 8 channels)', 'the network\'s guess of the result, decoded'],
    asked: (form, config) => ({
      sampler: 'ddim', tokens: tokenize(config, form.caption.value), guidance: +form.guidance.value,
      what: form.caption.value.trim() ? `Four pictures of “${form.caption.value.trim()}”` : 'Four pictures, painted without words',
    }),
    // classifier-free guidance, Eq. (15.4): away from the prediction without words
    network: ({tokens, guidance}, unet) => async (x, t) => {
      const none = tokens.map(() => 0), say = y => unet({x, t: [t], y})
      if (guidance === 0 || tokens.every(token => token === 0)) return say(none)
      if (guidance === 1) return say(tokens)
      const without = await say(none), told = await say(tokens)
      return told.map((v, i) => without[i] + guidance * (v - without[i]))
    },
    decode: async (z0, unet, decoder) => { const all = []; for (const z of z0) all.push(await decoder({z})); return all },
    picture: ({size}) => ({size: 4 * size, channels: 3}), bound: 3,
  },
}

// The settings and the networks of a painter: `network(asked)` for `paint`, `decode` from guesses to pictures
export async function load(name, base) {
  const painter = painters[name], folder = new URL('site_libs/ort/', base).href
  const [ort, config, ...files] = await Promise.all([import(folder + 'ort.wasm.min.mjs'), get(painter.config, base).then(r => r.json()),
    ...painter.graphs.map(file => get(file, base).then(r => r.arrayBuffer()))])
  ort.env.wasm.wasmPaths = folder
  ort.env.wasm.numThreads = 1
  const shapes = {x: [1, config.channels, config.size, config.size], z: [1, config.channels, config.size, config.size], t: [1], y: [1, config.length]}
  const tensor = (kind, values) => 'xz'.includes(kind) ? new ort.Tensor('float32', Float32Array.from(values), shapes[kind])
    : new ort.Tensor('int64', BigInt64Array.from(values, BigInt), shapes[kind])
  const graphs = []
  for (const file of files) {
    const session = await ort.InferenceSession.create(file, {executionProviders: ['wasm']})
    graphs.push(async inputs => (await session.run(Object.fromEntries(Object.entries(inputs).map(([kind, values]) => [kind, tensor(kind, values)])))).out.data)
  }
  return {config, network: asked => painter.network(asked, ...graphs), decode: x0 => painter.decode(x0, ...graphs)}
}

// The box for words: what may come next is listed below it, to be picked with the arrow keys and Enter, or with a finger
function completion(input, list, config) {
  let offers = [], active = -1
  const mark = k => {
    active = k
    ;[...list.children].forEach((item, i) => item.setAttribute('aria-selected', i === k))
    if (k < 0) return input.removeAttribute('aria-activedescendant')
    input.setAttribute('aria-activedescendant', list.children[k].id)
    list.children[k].scrollIntoView({block: 'nearest'})
  }
  const close = () => { list.hidden = true; input.setAttribute('aria-expanded', false); mark(-1) }
  const open = () => {
    offers = completions(config, input.value)
    list.replaceChildren(...offers.map((text, i) => Object.assign(document.createElement('li'), {id: `${list.id}-${i}`, role: 'option', textContent: text.split(/\s/).pop()})))
    if (!offers.length) return close()
    list.hidden = false
    input.setAttribute('aria-expanded', true)
    mark(-1)
  }
  const pick = k => { input.value = offers[k] + ' '; input.removeAttribute('aria-invalid'); open() }
  input.addEventListener('input', () => { input.removeAttribute('aria-invalid'); open() })
  input.addEventListener('blur', close)
  input.form.addEventListener('submit', close)
  input.addEventListener('keydown', event => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key]
    if (step) {
      if (list.hidden) open()
      if (offers.length) mark(active < 0 && step < 0 ? offers.length - 1 : (active + step + offers.length) % offers.length)
    } else if (event.key === 'Enter' && active >= 0) pick(active)
    else if (event.key === 'Escape' && !list.hidden) close()
    else return
    event.preventDefault()
  })
  list.addEventListener('mousedown', event => event.preventDefault())   // the box keeps the focus
  list.addEventListener('click', event => { const k = [...list.children].indexOf(event.target); if (k >= 0) pick(k) })
}

const markup = ({controls, captions, steps: [most, usual]}, id) => `
<form class="live-controls">
  ${controls(id)}
  <label>Steps <input name="steps" type="range" min="2" max="${most}" step="1" value="${usual}"><output aria-live="off">${usual}</output></label>
  <label>Seed <input name="seed" type="number" min="0" max="4294967290" step="1" value="0"></label>
  <button>Paint</button>
  <progress aria-label="Steps taken" value="0"></progress>
</form>
<p id="${id}-status" class="live-status" role="status"></p>
<div class="live-pictures">
  <figure><canvas class="live-x" width="1" height="1" role="img" aria-label="Nothing painted yet"></canvas><figcaption>${captions[0]}</figcaption></figure>
  <figure><canvas class="live-x0" width="1" height="1" role="img" aria-label="Nothing painted yet"></canvas><figcaption>${captions[1]}</figcaption></figure>
</div>
<label class="live-time">Look back <input name="time" type="range" min="0" max="0" step="1" value="0" disabled><output name="t" aria-live="off">t = …</output></label>`

function start(root, name) {
  const painter = painters[name], base = document.baseURI, say = text => { part('.live-status').textContent = text }
  root.innerHTML = markup(painter, root.id)
  const part = selector => root.querySelector(selector), form = part('form'), button = part('button'), time = part('[name=time]'), progress = part('progress')
  let ready = null, settings = null, frames = [], config = null, what = ''
  const show = k => {
    const {t, x, pictures} = frames[k], {size, channels} = painter.picture(config)
    draw(part('.live-x'), x, config.size, config.channels, painter.bound)
    draw(part('.live-x0'), pictures, size, channels)
    part('.live-x').setAttribute('aria-label', `${what}: what the sampler has at t = ${t}`)
    part('.live-x0').setAttribute('aria-label', t ? `${what}: the network's guess of the finished pictures at t = ${t}` : `${what}, finished`)
    part('[name=t]').textContent = `t = ${t}`
    time.setAttribute('aria-valuetext', `t = ${t}`)
  }
  const seeds = () => [0, 1, 2, 3].map(i => (Math.floor(+form.seed.value) >>> 0) + i)
  const prepare = async () => {
    config = await get(painter.config, base).then(r => r.json())
    if (form.caption) completion(form.caption, part('.live-next'), config)
  }
  // before anything is painted: the noise that this seed gives, where every chain begins
  const begin = async () => {
    await (settings ??= prepare().catch(error => { settings = null; throw error }))
    if (frames.length) return
    draw(part('.live-x'), seeds().map(seed => Array.from({length: config.channels * config.size ** 2}, normals(seed))), config.size, config.channels, painter.bound)
    part('.live-x').setAttribute('aria-label', 'Four squares of pure noise')
    part('[name=t]').textContent = `t = ${config.alpha_bars.length - 1}`
  }
  form.seed.addEventListener('input', () => begin().catch(() => {}))
  begin().catch(() => {})   // the button says what is wrong
  for (const range of form.querySelectorAll('[type=range]'))
    range.addEventListener('input', () => { range.nextElementSibling.textContent = range.value })
  time.addEventListener('input', () => show(+time.value))
  form.addEventListener('submit', async event => {
    event.preventDefault()
    if (button.getAttribute('aria-disabled') === 'true') return
    const steps = +form.steps.value
    let asked
    try {
      await begin()
      asked = painter.asked(form, config)
    } catch (error) {
      root.dataset.state = 'failed'
      if (error instanceof RangeError) { form.caption.setAttribute('aria-invalid', true); form.caption.focus() }
      return say(error instanceof RangeError ? error.message : `This did not work: ${error.message}`)
    }
    button.setAttribute('aria-disabled', true)
    time.disabled = true
    try {
      root.dataset.state = 'loading'
      say(ready ? 'Painting …' : 'Fetching the network …')
      const {network, decode} = await (ready ??= load(name, base))
      say('Painting …')
      root.dataset.state = 'painting'
      const started = performance.now()
      let shown = 0
      frames = []
      what = asked.what
      progress.max = steps
      for await (const frame of paint(network(asked), config, asked.sampler, seeds(), steps)) {
        frames.push({...frame, pictures: await decode(frame.x0)})
        if (performance.now() - shown < 30) continue
        progress.value = frames.length - 1
        show(frames.length - 1)
        await new Promise(requestAnimationFrame)
        shown = performance.now()
      }
      progress.value = steps
      time.max = frames.length - 1
      time.value = time.max
      show(frames.length - 1)
      say(`${what}: ${steps} steps, ${((performance.now() - started) / 1000).toFixed(1)} seconds in this browser.`)
      root.dataset.state = 'done'
      time.disabled = false
    } catch (error) {
      ready = null
      root.dataset.state = 'failed'
      say(`This did not work: ${error.message}`)
    }
    button.removeAttribute('aria-disabled')
  })
  root.dataset.state = 'idle'
  say(`Press Paint: the first time, the network and what runs it are fetched, about ${painter.megabytes} MB.`)
}

for (const root of document.querySelectorAll('.live')) {
  const name = root.dataset.painter
  if (typeof WebAssembly === 'object') start(root, name)
  else {
    root.dataset.state = 'failed'
    root.textContent = `Your browser has no WebAssembly, or it is switched off, so this page cannot run the network. The same pictures can be painted with the command ${painters[name].command}.`
  }
}
