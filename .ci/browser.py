#!/usr/bin/env python3
"""Look at the built site the way readers do, in a real Chromium: light, dark and on a phone. For either renderer.

usage: browser.py [SITE] [--shots FOLDER] [--only PAGE,...]
SITE is _docs unless given; needs the extra `site`, npm, and Chromium (CHROMIUM names it, else the one on the path).
Prints one line per check and `N passed, N failed` last; exits with 1 if anything failed.
"""
import argparse, configparser, functools, gzip, http.server, json, os, re, shutil, subprocess, sys, tarfile, tempfile, threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit
from playwright.sync_api import sync_playwright
from ddpm_lit.latent import COLOURS
from checks import check, end
from equations import TAG, read

root = Path(__file__).resolve().parent.parent
BASE = '/ddpm_lit/'   # the site must work below this path
AXE = 'axe-core@4.10.2'
VIEWS = dict(light=dict(width=1300, color_scheme='light'), dark=dict(width=1300, color_scheme='dark'), phone=dict(width=390, color_scheme='light'))
RAW = r'\$\$|\\tag\b|\\frac\b|\\begin\{|:::|^#\||Traceback \(most recent|KaTeX parse error|Error: |\{#|\{\{<'
FIRST, LARGEST = 700_000, 4_000_000   # bytes that may travel for the first page and for a chapter, text gzipped as GitHub Pages does

TEXT = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json', '.svg': 'image/svg+xml', '.xml': 'text/xml'}

# What a page shows outside code: text, maths, pictures, links
LOOK = r'''() => {
  const inside = (e, selector) => e.closest(selector) !== null, all = selector => [...document.querySelectorAll(selector)]
  const copy = document.querySelector('main').cloneNode(true)
  copy.querySelectorAll('pre, code, .katex, script, style, svg').forEach(e => e.remove())
  const text = [...copy.querySelectorAll('*')].filter(e => !e.children.length || [...e.childNodes].some(c => c.nodeType === 3 && c.data.trim()))
    .map(e => [...e.childNodes].filter(c => c.nodeType === 3).map(c => c.data).join(' ')).join('\n')
  return {
    text,
    code: all('main pre').map(e => e.innerText).filter(t => /^#\|/m.test(t)).length,
    untypeset: all('.math').filter(e => !e.querySelector('.katex, mjx-container') || e.querySelector('.katex-error')).map(e => e.textContent.slice(0, 60)),
    math: all('.math').length,
    tags: all('main .katex .tag').map(e => e.textContent.replace(/\s/g, '')),
    covered: all('main .katex-html > .tag').filter(e => e.previousElementSibling && e.previousElementSibling.getBoundingClientRect().right > e.firstElementChild.nextElementSibling.getBoundingClientRect().left + 1).map(e => e.textContent),
    nameless: all('img').filter(e => !(e.getAttribute('alt') || '').trim() && !inside(e, '[role=img][aria-label]:not([aria-label=""])')).map(e => e.outerHTML.slice(0, 90)),
    broken: all('img').filter(e => e.loading !== 'lazy' && e.complete && !e.naturalWidth).map(e => e.outerHTML.slice(0, 90)),
    links: all('a[href]').map(e => e.href),
    ids: all('[id]').map(e => e.id),
    dead: all('main [type^="application/vnd.jupyter.widget"], main .jupyter-widgets').length + all('main pre').filter(e => /^\w+\(children=/.test(e.textContent.trim())).length,
    width: document.documentElement.scrollWidth,
    wide: all('main *').filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !inside(e, 'pre, .math, .katex, table, .sd-table, .cell-output-display, .frame-slider')).map(e => e.outerHTML.slice(0, 90)),
  }
}'''


@functools.cache
def zipped(path): return gzip.compress(path.read_bytes(), 6)


class Handler(http.server.SimpleHTTPRequestHandler):
    "Serves the site below BASE, and its 404 page for everything else, as GitHub Pages does."
    protocol_version = 'HTTP/1.1'
    def log_message(self, *args): pass
    def translate_path(self, path):
        path = urlsplit(path).path
        return super().translate_path(path[len(BASE) - 1:] if path.startswith(BASE) else '/no such file')
    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix not in TEXT or not path.is_file(): return super().do_GET()
        self.answer(200, TEXT[path.suffix], zipped(path), 'gzip')
    def answer(self, code, kind, body, encoding='identity'):
        self.send_response(code)
        for k, v in {'Content-Type': f'{kind}; charset=utf-8', 'Content-Encoding': encoding, 'Content-Length': len(body)}.items(): self.send_header(k, str(v))
        self.end_headers()
        self.wfile.write(body)
    def send_error(self, code, *args):
        page = Path(self.directory)/'404.html'
        if code != 404 or not page.exists(): return super().send_error(code, *args)
        self.answer(404, 'text/html', page.read_bytes())


class Server(http.server.ThreadingHTTPServer):
    "Takes many requests at once, and does not mind a browser that leaves before a file is there."
    request_queue_size, daemon_threads = 128, True
    def handle_error(self, *args): pass


def serve(site):
    "Start a server in the background; its address."
    server = Server(('127.0.0.1', 0), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}'


def axe():
    "The source of axe-core."
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(['npm', 'pack', '--silent', AXE], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(tmp).glob('*.tgz'))) as tar: return tar.extractfile('package/axe.min.js').read().decode()


class Tab:
    "A page of the browser that notes everything it loads and everything that goes wrong."
    def __init__(self, browser, origin, view):
        v = VIEWS[view]
        context = browser.new_context(viewport=dict(width=v['width'], height=900), color_scheme=v['color_scheme'], reduced_motion='reduce')
        self.origin, self.page = origin, context.new_page()
        self.tools = context.new_cdp_session(self.page)
        self.tools.send('Performance.enable')
        self.page.set_default_timeout(120_000)
        self.page.route('**/*', self.route)
        self.page.on('console', lambda m: self.errors.append(m.text) if m.type in ('error', 'warning') else None)
        self.page.on('pageerror', lambda e: self.errors.append(str(e)))
        self.page.on('requestfailed', lambda r: None if 'ERR_ABORTED' in (r.failure or '') else self.errors.append(f'failed: {r.url}'))
        self.page.on('response', self.response)
        self.errors, self.bytes, self.sizes = [], 0, {}

    def route(self, route):
        url = route.request.url
        if url.startswith((self.origin, 'data:', 'blob:')): return route.continue_()
        self.errors.append(f'another host: {url}')
        route.abort()

    def response(self, r):
        if r.url.startswith('data:'): return
        if r.status >= 400: self.errors.append(f'{r.status}: {r.url}')
        size = int(r.headers.get('content-length', 0))
        self.bytes += size
        self.sizes[urlsplit(r.url).path.removeprefix(BASE)] = size

    def processor(self):
        "Processor seconds of the page so far; unlike its own clock, they do not count what else the machine is busy with."
        return next(m['value'] for m in self.tools.send('Performance.getMetrics')['metrics'] if m['name'] == 'ProcessTime')

    def open(self, path):
        self.errors, self.bytes, self.sizes = [], 0, {}
        self.page.goto(self.origin + BASE + path)
        self.page.wait_for_load_state('networkidle')
        self.page.wait_for_timeout(150)
        return self.page


def violations(page, source, rules=None):
    "Serious and critical findings of axe, one line each; the insides of formulas are hidden from readers who cannot see."
    page.evaluate(source)
    only = f'runOnly: {json.dumps(rules)}, ' if rules else ''
    found = page.evaluate(f"axe.run({{exclude: ['.katex-html']}}, {{{only}resultTypes: ['violations']}}).then(r => r.violations)")
    return [f"{v['id']} ({v['impact']}, {len(v['nodes'])}): " + '; '.join(n['html'][:100] + ' ' + (n['any'][0]['message'][:110] if n['any'] else '') for n in v['nodes'][:3])
            for v in found if v['impact'] in ('serious', 'critical')]


def pixels(locator):
    "A picture of the inside of one element, for comparison."
    box, rim = locator.bounding_box(), 8
    return locator.page.screenshot(animations='disabled', clip=dict(
        x=box['x'] + rim, y=box['y'] + rim, width=box['width'] - 2*rim, height=box['height'] - 2*rim))


def sliders(tab, name):
    "Every slider of a page answers to the keyboard, the first one to the pointer as well."
    page = tab.open(name)
    every, still = page.locator('.frame-slider').all(), []
    if not every: return False
    for i, slider in enumerate(every):
        slider.scroll_into_view_if_needed()
        image, bar = slider.locator('[role=img]'), slider.locator('input[type=range]')
        seen = [pixels(image)]
        bar.focus()
        for key in ('End', 'Home'):
            page.keyboard.press(key)
            seen.append(pixels(image))
            if bar.get_attribute('aria-valuetext') != slider.locator('output').inner_text(): still.append(f'slider {i} does not name its frame')
        if seen[0] == seen[1] or seen[0] != seen[2]: still.append(f'slider {i} stays the same')
    check(f'{name}: all {len(every)} sliders answer to the keyboard and name their frames', not still, still)
    image, bar = every[0].locator('[role=img]'), every[0].locator('input[type=range]')
    bar.scroll_into_view_if_needed()
    start, box = pixels(image), bar.bounding_box()
    page.mouse.click(box['x'] + .7*box['width'], box['y'] + box['height']/2)
    check(f'{name}: slider answers to the pointer', pixels(image) != start and bar.input_value() != '0', 'the frame stays the same')
    return True


READ = "selector => { const c = document.querySelector(selector); return [c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 < 3)] }"


def tiles(page, selector, side):
    "The four pictures of a canvas, `[4][side][side][3]`, from 0 to 255."
    width, *rgb = page.evaluate(READ, selector)
    return [[[rgb[3*((j//2*(side + 1) + y)*width + j%2*(side + 1) + x):][:3] for x in range(side)] for y in range(side)] for j in range(4)]


def gap(pictures, reference, channels):
    "Largest difference in levels of 255 to pictures in [-1, 1], channel by channel as PyTorch has them."
    side = len(pictures[0])
    return max(abs(pictures[j][y][x][c] - min(255, max(0, 127.5*(1 + image[(c*side + y)*side + x]))))
               for j, image in enumerate(reference) for c in range(channels) for y in range(side) for x in range(side))


def finished(page, id):
    "Wait until a painter is ready; its state and what it says."
    page.wait_for_function(f"['done', 'failed'].includes(document.querySelector('#{id}').dataset.state)", timeout=120_000)
    return page.get_attribute(f'#{id}', 'data-state'), page.inner_text(f'#{id} .live-status')


def garments(tab, site, name):
    "The painter without words gives PyTorch's pictures from the same noise, in under 10 seconds, with all samplers."
    page, config = tab.open(name), json.loads((site/'live.json').read_text())
    check(f'{name}: the painter loads nothing until it is asked ({tab.bytes/1e6:.2f} MB)', tab.bytes < FIRST and page.locator('#live button').count() == 1)
    before = page.evaluate(READ, '#live .live-x')
    def painted():
        page.click('#live button')
        return finished(page, 'live')
    side, ref = config['size'], config['reference']
    for sampler in ('ddim', 'dpm_solver'):
        page.select_option('[name=sampler]', sampler)
        began = tab.processor()
        state, said = painted()
        check(f'{name}: {sampler} paints', state == 'done', said + str(tab.errors))
        if state != 'done': return
        seconds = tab.processor() - began
        check(f'{name}: {sampler} takes under 10 processor seconds for four images of {ref["steps"]} steps ({seconds:.1f} s; {said})', seconds < 10)
        worst = gap(tiles(page, '#live .live-x', side), ref[sampler], 1)
        check(f"{name}: {sampler} gives PyTorch's pixels (at most {worst:.2f} of 255 away)", worst <= 1.5)
    after = page.evaluate(READ, '#live .live-x')
    back = page.locator('#live [name=time]')
    check(f'{name}: the slider stands at the finished pictures', back.input_value() == back.get_attribute('max') == str(ref['steps']), back.input_value())
    back.focus()
    page.keyboard.press('Home')
    noise = page.evaluate(READ, '#live .live-x')
    check(f'{name}: the picture before painting is the noise that the chain begins with', noise == before)
    def rough(image): return sum(abs(a - b) for a, b in zip(image[1::3], image[4::3]))/len(image)
    check(f'{name}: from noise to a picture (roughness {rough(noise):.0f} to {rough(after):.0f})', rough(after) < .6*rough(noise))
    page.select_option('[name=sampler]', 'ancestral')
    state, said = painted()
    check(f'{name}: ancestral paints', state == 'done', said)
    check(f'{name}: nothing went wrong while painting', not tab.errors, tab.errors)


# The latents and the pictures of the page's own code for a caption, and what it answers to captions that it cannot read
ASK = '''async ({prompts, guidance, steps, seeds, wrong}) => {
  const {load, paint, tokenize} = await import(new URL('live.js', document.baseURI))
  const {config, network, decode} = await load('words', document.baseURI), latents = [], said = {}
  for (const prompt of prompts) {
    let last
    for await (const frame of paint(network({tokens: tokenize(config, prompt), guidance}), config, 'ddim', seeds, steps)) last = frame.x
    latents.push(last.map(image => [...image]))
  }
  for (const text of wrong) try { tokenize(config, text); said[text] = 'fine' } catch (error) { said[text] = error.message }
  return {latents, said, pictures: (await decode(latents[0])).map(image => [...image])}
}'''


def worst_of(got, want): return max(abs(a - b) for x, y in zip(got, want, strict=True) for a, b in zip(x, y, strict=True))


def words(tab, site, name, source, every):
    "The painter that takes words, by keyboard alone: it completes them, and paints PyTorch's pictures; with `every`, all that it offers."
    page, ref = tab.open(name), json.loads((root/'.ci/live_text.json').read_text())
    check(f'{name}: the painter of words loads nothing until it is asked ({tab.bytes/1e6:.2f} MB)', tab.bytes < FIRST and not any(p.endswith(('.onnx', '.wasm')) for p in tab.sizes))
    box, options = page.locator('#words [name=caption]'), page.locator('#words [role=option]')
    for _ in range(200):
        page.keyboard.press('Tab')
        if box.evaluate('e => e === document.activeElement'): break
    seen = box.evaluate("e => [e === document.activeElement, getComputedStyle(e).outlineStyle, e.labels[0]?.textContent]")
    check(f'{name}: the Tab key leads to the box for words, which has a name and a visible focus', seen[0] and seen[1] != 'none' and seen[2], seen)
    page.keyboard.press('Control+A')
    page.keyboard.type('a re')
    check(f'{name}: "a re" is completed', options.all_inner_texts() == ['red'] and box.get_attribute('aria-expanded') == 'true', options.all_inner_texts())
    page.keyboard.press('ArrowDown')
    chosen = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
    check(f'{name}: the arrow key points at a word, for screen readers too', chosen.inner_text() == 'red' and chosen.get_attribute('aria-selected') == 'true', chosen.inner_text())
    page.keyboard.press('Enter')
    next_words = options.all_inner_texts()
    check(f'{name}: Enter takes it, and garments come next', box.input_value() == 'a red ' and {'sneaker', 'bag', 'tee'} <= set(next_words) and 'red' not in next_words, (box.input_value(), next_words))
    found = violations(page, source) if every else []
    check(f'{name}: axe finds nothing serious in the list of words', not found, ' | '.join(found))
    page.keyboard.type(ref['prompt'].removeprefix('a red '))
    page.keyboard.press('Escape')
    check(f'{name}: Escape closes the list', box.get_attribute('aria-expanded') == 'false' and not options.first.is_visible())
    page.evaluate("() => { window.said = []; new MutationObserver(() => said.push(document.querySelector('#words .live-status').textContent)).observe(document.querySelector('#words .live-status'), {childList: true}) }")
    began = tab.processor()
    page.keyboard.press('Enter')
    state, said = finished(page, 'words')
    check(f'{name}: paints {ref["prompt"]!r}', state == 'done', said + str(tab.errors))
    if state != 'done': return
    seconds = tab.processor() - began
    check(f'{name}: four pictures take under 10 processor seconds, the start included ({seconds:.1f} s; {said})', seconds < 10)
    own, runtime = (sum(n for p, n in tab.sizes.items() if p.startswith('site_libs/ort/') == ort and (ort or re.match(r'live.*(js|json|onnx)$', p))) for ort in (False, True))
    check(f'{name}: at most 6 MB were fetched beyond the runtime ({own/1e6:.2f} MB; the runtime has {runtime/1e6:.2f} MB)', 0 < own <= 6e6 and runtime)
    heard = page.evaluate('said')
    check(f'{name}: screen readers hear the start and the end, not every step', page.get_attribute('#words .live-status', 'role') == 'status' and len(heard) <= 3 and heard[-1] == said, heard)
    labels = [page.get_attribute(f'#words {c}', 'aria-label') for c in ('.live-x', '.live-x0')]
    check(f'{name}: the pictures say what they show', all(ref['prompt'] in label for label in labels), labels)
    pictures = tiles(page, '#words .live-x0', 32)
    worst = gap(pictures, ref['pictures'], 3)
    check(f"{name}: gives PyTorch's pixels (at most {worst:.2f} of 255 away)", worst <= 1.5)
    colours = [(nearest([p[y][x] for y in (0, 1, 30, 31) for x in (0, 1, 30, 31)]), nearest([p[y][x] for y in range(14, 21) for x in range(11, 21)])) for p in pictures]
    check(f'{name}: the four grounds are blue, the four things on them red', colours == [('blue', 'red')]*4, colours)
    check(f'{name}: nothing went wrong while painting', not tab.errors, tab.errors)
    if not every: return
    back = page.locator('#words [name=time]')
    check(f'{name}: the slider stands at the finished pictures', back.input_value() == back.get_attribute('max') == str(ref['steps']), back.input_value())
    back.focus()
    page.keyboard.press('Home')
    check(f'{name}: the slider leads back to the first guess', 't = 1000' in page.get_attribute('#words .live-x0', 'aria-label') and tiles(page, '#words .live-x0', 32) != pictures)
    got = page.evaluate(ASK, dict(ref, prompts=[ref['prompt'], ''], wrong=list(ref['complaints'])))
    for what, a, b in (('latents', got['latents'][0], ref['latents']), ('latents without words', got['latents'][1], ref['wordless']), ('pictures', got['pictures'], ref['pictures'])):
        check(f"{name}: {what} within 1e-3 of PyTorch's (at most {worst_of(a, b):.1e} away)", worst_of(a, b) <= 1e-3)
    check(f"{name}: unknown words are answered as in Python", got['said'] == ref['complaints'], (got['said'], ref['complaints']))
    box.fill('a red sneeker')
    before = dict(tab.sizes)
    page.keyboard.press('Enter')
    state, said = finished(page, 'words')
    check(f'{name}: an unknown word is named with known ones like it', state == 'failed' and said == ref['complaints']['a red sneeker'] and 'sneaker' in said, said)
    check(f'{name}: the box is marked and keeps the focus', box.evaluate("e => e === document.activeElement && e.getAttribute('aria-invalid') === 'true' && e.getAttribute('aria-describedby') === document.querySelector('#words .live-status').id") and tab.sizes == before)
    box.fill('')
    page.locator('#words [name=steps]').focus()
    page.keyboard.press('Home')
    check(f'{name}: the sliders show their numbers', page.inner_text('#words [name=steps] + output') == '2')
    page.click('#words button')
    page.wait_for_function("document.querySelector('#words').dataset.state === 'done'")
    check(f'{name}: an empty box paints without words', 'without words' in page.get_attribute('#words .live-x0', 'aria-label') and box.get_attribute('aria-invalid') is None)
    check(f'{name}: the button keeps the focus', page.evaluate("document.activeElement.tagName") == 'BUTTON')
    check(f'{name}: still nothing went wrong', not tab.errors, tab.errors)
    page.add_init_script('delete window.WebAssembly')
    tab.open(name)
    for id in ('words', 'live'): check(f'{name}: says so without WebAssembly ({id})', 'no WebAssembly' in page.inner_text(f'#{id}'), page.inner_text(f'#{id}'))


def nearest(rgb):
    "The colour of the painted world that is nearest to the median of some pixels."
    median = [sorted(channel)[len(channel)//2] for channel in zip(*rgb)]
    return min(COLOURS, key=lambda name: sum((a - b)**2 for a, b in zip(COLOURS[name], median)))


def phone(tab, name):
    "On a narrow screen, a caption can be put together from the words that are offered, and nothing sticks out."
    page = tab.open(name)
    box = page.locator('#words [name=caption]')
    box.scroll_into_view_if_needed()
    box.fill('')
    box.press('ArrowDown')
    for word in 'a yellow dress on a purple ground'.split(): page.locator('#words [role=option]').get_by_text(word, exact=True).click()
    check(f'{name} (phone): a caption of words that were tapped', box.input_value().strip() == 'a yellow dress on a purple ground', box.input_value())
    box.fill('a ')
    edges = page.evaluate("[...document.querySelectorAll('#words .live-next, #words [role=option]')].map(e => e.getBoundingClientRect()).flatMap(r => [r.left, r.right])")
    check(f'{name} (phone): the list of words fits', len(edges) > 10 and min(edges) >= 0 and max(edges) <= 390, edges)
    small = page.evaluate("[...document.querySelectorAll('#words [role=option], #words button')].map(e => e.getBoundingClientRect().height).filter(h => h < 24)")
    check(f'{name} (phone): what can be tapped is at least 24 pixels high', not small, small)
    box.fill('a yellow dress on a purple ground')
    page.locator('#words [name=steps]').press('Home')
    page.locator('#words button').click()
    state, said = finished(page, 'words')
    look = page.evaluate(LOOK)
    check(f'{name} (phone): paints, and nothing overflows sideways', state == 'done' and look['width'] <= 390 and not look['wide'], (said, look['width'], look['wide'][:3]))


def search(tab):
    "A heading of a chapter is found, and its result leads there."
    phrase = re.findall(r'^## (.+)', '\n'.join(s for kind, s in read(root/'nbs/02_closed_form.ipynb') if kind == 'markdown'), re.M)[0]
    page = tab.open('index.html')
    page.click('#quarto-search input')
    page.keyboard.type(phrase)
    found = page.locator('.search-result, .aa-Panel .search-result-link, .aa-Panel li.aa-Item').filter(has_text=phrase)
    found.first.wait_for(timeout=15_000)
    check(f'search finds "{phrase}"', found.count(), page.inner_text('body')[:300])
    found.first.click()
    page.wait_for_url('**/closed_form.html*')
    check('a search result leads to its page', True)


def frame(tab):
    "Previous and next lead through the whole book; the theme can be switched; a missing page has a way back."
    page, seen = tab.open('index.html'), ['index.html']
    book = page.evaluate("[...new Set([...document.querySelectorAll('#quarto-sidebar .sidebar-menu-container a[href$=\".html\"]')].map(a => a.href.split('/').pop()))]")
    book = ['index.html'] + [b for b in book if b != 'index.html']
    while page.locator('.nav-page-next a').count() and len(seen) <= len(book):
        tab.open(page.locator('.nav-page-next a').get_attribute('href').split('/')[-1])
        seen.append(page.url.split('/')[-1])
    check('next leads through every page of the sidebar', seen == book, f'{seen} against {book}')
    page = tab.open('index.html')
    before = page.evaluate('getComputedStyle(document.body).backgroundColor')
    page.locator('.quarto-color-scheme-toggle:visible').first.click()
    page.wait_for_timeout(300)
    after = page.evaluate('getComputedStyle(document.body).backgroundColor')
    tab.open('live.html')
    check('dark can be chosen, and stays on the next page', before != after == page.evaluate('getComputedStyle(document.body).backgroundColor'), (before, after))
    page.locator('.quarto-color-scheme-toggle:visible').first.click()
    tab.page.goto(tab.origin + BASE + 'no/such/page')
    page.wait_for_load_state('networkidle')
    styled = page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth + getComputedStyle(document.body).fontFamily")
    check('a missing page is styled at any depth', 'system-ui' in styled, styled)
    page.click('main a[href$="index.html"]')
    page.wait_for_load_state('networkidle')
    check('a missing page leads home', page.url.endswith(BASE + 'index.html'), page.url)


def heads(site):
    "Every page says what it is to search engines and to whoever gets a link to it; the site map lists all but the 404 page."
    config = configparser.ConfigParser(delimiters=['='], interpolation=None)
    config.read(root/'settings.ini', encoding='utf-8')
    home = config['DEFAULT']['doc_host'] + config['DEFAULT']['doc_baseurl'].rstrip('/') + '/'
    pages = {p.name: p.read_text(encoding='utf-8') for p in site.glob('*.html')}
    for name, text in pages.items():
        head = text.partition('<body')[0]
        said = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]+)"', head))
        icon = re.search(r'<link rel="icon" href="([^"]+)"', head) or re.search(r'<link href="([^"]+)" rel="icon"', head)
        missing = [k for k in ('description', 'og:title', 'og:description', 'og:image', 'twitter:card', 'viewport') if k not in said]
        card = said.get('og:image', '').removeprefix(home)
        check(f'{name}: title, description, card and icon', not missing and '<title>' in head and card == 'card.png' and (site/card).is_file() and icon and (site/icon[1].removeprefix(f'/{BASE.strip("/")}/')).is_file(), (missing, card, icon))
    listed = {u.removeprefix(home) or 'index.html' for u in re.findall(r'<loc>([^<]+)</loc>', (site/'sitemap.xml').read_text(encoding='utf-8'))}
    check('the site map lists every page', listed == set(pages) - {'404.html'}, listed ^ set(pages))


def links(site, looks, origin):
    "Every link inside the site leads to a file, and to an anchor that is there."
    for name, look in looks.items():
        bad = set()
        for url in look['links']:
            if not url.startswith(origin): continue
            path, anchor = urldefrag(url)
            target = unquote(urlsplit(path).path)
            inside = target.removeprefix(BASE) or 'index.html'
            if not target.startswith(BASE) or not (site/inside).is_file(): bad.add(url.removeprefix(origin))
            elif anchor and inside in looks and unquote(anchor) not in looks[inside]['ids']: bad.add(url.removeprefix(origin))
        check(f'{name}: links inside the site resolve', not bad, sorted(bad))


def origin_of(name):
    "The notebook or Markdown file that a page comes from: forward.html from 01_forward.ipynb."
    stem = name.removesuffix('.html')
    [source] = [p for p in (root/'nbs').glob('*') if p.suffix in ('.ipynb', '.md') and re.sub(r'^\d\d_', '', p.stem) == stem]
    return source


def numbers(source):
    "Numbers of the equations in a notebook or Markdown file, as they stand on its page."
    text = source.read_text(encoding='utf-8') if source.suffix == '.md' else '\n'.join(s for kind, s in read(source) if kind == 'markdown')
    return [f'({t})' for t in TAG.findall(text)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('site', nargs='?', default=root/'_docs', type=Path)
    parser.add_argument('--shots', type=Path, help='put a picture of every page into this folder')
    parser.add_argument('--only', help='look at these pages only, without .html')
    args = parser.parse_args()
    names = sorted(p.name for p in args.site.glob('*.html'))
    if args.only: names = [n for n in names if n.removesuffix('.html') in args.only.split(',')]
    if not names: sys.exit(f'no pages in {args.site}')
    source, looks = axe(), {}
    if args.shots: args.shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p:
        executable = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('google-chrome')
        browser = p.chromium.launch(executable_path=executable, args=['--no-sandbox', '--disable-gpu'])
        origin = serve(args.site)
        tabs = {view: Tab(browser, origin, view) for view in VIEWS}
        for name in names:
            for view, tab in tabs.items():
                page, label = tab.open(name), f'{name} ({view})'
                check(f'{label}: no error, nothing from elsewhere', not tab.errors, tab.errors)
                look = page.evaluate(LOOK)
                if args.shots: page.screenshot(path=args.shots/f'{name[:-5]}-{view}.png', full_page=True)
                if view == 'phone':
                    check(f'{label}: nothing overflows sideways', look['width'] <= VIEWS[view]['width'] and not look['wide'], (look['width'], look['wide'][:3]))
                    check(f'{label}: no formula runs into its number', not look['covered'], look['covered'])
                    continue
                found = violations(page, source, ['color-contrast'] if view == 'dark' else None)   # only colours differ in the dark
                check(f'{label}: axe finds nothing serious', not found, ' | '.join(found))
                light = sum(int(c) for c in re.findall(r'\d+', page.evaluate('getComputedStyle(document.body).backgroundColor'))[:3])/3
                check(f'{label}: follows the system', light < 60 if view == 'dark' else light > 200, light)
                if view == 'dark': continue
                looks[name] = look
                limit = FIRST if name == 'index.html' else LARGEST
                check(f'{name}: loads {tab.bytes/1e6:.2f} MB', tab.bytes <= limit, f'more than {limit/1e6} MB')
                raw = re.findall(f'.{{0,30}}(?:{RAW}).{{0,30}}', look['text'], re.M)
                check(f'{name}: no raw markup or error shows', not raw and not look['code'], raw[:5] or f"{look['code']} cells with directives")
                check(f'{name}: no control that needs a kernel', not look['dead'], f"{look['dead']} widgets")
                check(f"{name}: all {look['math']} formulas are typeset", not look['untypeset'], look['untypeset'][:3])
                wanted = numbers(origin_of(name))
                check(f"{name}: all {len(look['tags'])} equation numbers show", look['tags'] == wanted, f"{look['tags']} against {wanted}")
                check(f'{name}: every picture has a text and loads', not look['nameless'] and not look['broken'], (len(look['nameless']), (look['nameless'] + look['broken'])[:3]))
        links(args.site, looks, origin)
        moving = [name for name in names if sliders(tabs['light'], name)]
        if not args.only:
            heads(args.site)
            every = sum(len(numbers(p)) for p in sorted((root/'nbs').glob('*.ipynb')))
            seen = sum(len(look['tags']) for name, look in looks.items() if origin_of(name).suffix == '.ipynb')
            check(f'the chapters show all {every} numbered equations', seen == every > 0, seen)
            check('there are pages with sliders', moving)
            search(tabs['light'])
            frame(tabs['light'])
        for name in ('index.html', 'live.html'):
            if name not in names: continue
            phone(tabs['phone'], name)
            if name == 'live.html': garments(tabs['light'], args.site, name)
            words(tabs['light'], args.site, name, source, every=name == 'live.html')
        browser.close()
    end()


if __name__ == '__main__': main()
