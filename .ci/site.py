#!/usr/bin/env python3
"""Build the website into _docs: nbdev prepares the notebooks, smalldocs (or Quarto) renders them, and this script finishes
the pages: one name for each page whichever renderer made it, nothing loaded from another host, an anchor and a link to the
source at each exported definition, link previews, buttons.

usage: site.py             render with smalldocs; needs the dev extra and npm
       site.py --quarto    render with Quarto (nbdev_docs); needs the dev extra, npm and quarto
"""
import html, json, re, shutil, subprocess, sys, tarfile, tempfile
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
KATEX, ORT = 'katex@0.16.11', 'onnxruntime-web@1.20.1'
CARD = 'The name ddpm_lit above a row of pictures that turn from grey noise into garments.'
ELSEWHERE = re.compile(r'<script[^>]*\bsrc="https://cdnjs\.[^>]*></script>|<script[^>]*>(?:define\(\'jquery\'|window\.(?:backupDefine|define) ?=).*?</script>', re.S)
PREVIEW = re.compile(r'<meta (?:property|name)="(?:og|twitter):image[^>]*>\s*')
WEBFONT = re.compile(r'@import\s*(?:url\([^)]*\)|"[^"]*"|\'[^\']*\')[^;]*;')
FIGURE = re.compile(r'<div class="quarto-figure[^"]*">\s*<figure[^>]*>\s*<p>(<a [^>]*>)?<img (?![^>]*\balt=)([^>]*)>(</a>)?</p>\s*<figcaption[^>]*>(.*?)</figcaption>\s*</figure>\s*</div>', re.S)   # Quarto's, where a text stands for a picture
BADGE = re.compile(r'<a [^>]*href="(https://colab\.research\.google\.com/[^"]*/([^/"]+\.ipynb))"[^>]*>\s*<img[^>]*>\s*</a>')
BUTTONS = r'<span class="page-buttons"><a href="\1">Open in Colab</a> <a href="notebooks/\2" download>Download notebook</a></span>'
CAPTION = re.compile(r'<p>(<em>(?:(?!</?em>|</p>).)*</em>)</p>', re.S)   # a paragraph all in italics
CODE = re.compile(r'(?:<div class="code-copy-outer-scaffold">)?<div class="sourceCode[^"]*"[^>]*><pre class="sourceCode python[^"]*"><code class="sourceCode python">(.*?)</code>', re.S)
DEFINED = re.compile(r'^(?:async )?(?:def|class) (\w+)', re.M)
NAME = re.compile(r'(?<![\w\\{/#.])([A-Za-zα-ωᾱ]\u0304?\u0302?)_(?:\{([^{}<>\s]{1,8})\}|(ij|[0-9A-Za-zα-ω]))(?![A-Za-z0-9_{])')   # x_0, β_t, x_{t-1}
VERBATIM = re.compile(r'(<(?:pre|code|script|style|head|button|option)\b.*?</(?:pre|code|script|style|head|button|option)>|<span class="math.*?</span>|<[^>]*>)', re.S)


def npm(spec, into, keep):
    "Copy the files of an npm package's dist folder whose names match `keep`."
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(['npm', 'pack', '--silent', spec], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(tmp).glob('*.tgz'))) as tar: tar.extractall(tmp, filter='data')
        dist = Path(tmp)/'package/dist'
        for f in dist.rglob('*'):
            if not f.is_file() or not re.search(keep, name := f.relative_to(dist).as_posix()): continue
            (into/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(f, into/name)


def subscripts(text):
    "Set x_0 and its like outside of code and formulas the way formulas do."
    parts = VERBATIM.split(text)
    parts[::2] = [NAME.sub(lambda m: f'<i>{m[1]}</i><sub>{(m[2] or m[3]).replace("-", "−")}</sub>', p) for p in parts[::2]]
    return ''.join(parts)


def exported(notebook):
    "Names defined by each exported cell that the page shows: source without its directives -> names."
    cells = {}
    for cell in json.loads(notebook.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or not re.match(r'#\| *exports\b', source): continue
        code = '\n'.join(line.rstrip() for line in source.splitlines() if not line.startswith('#|')).strip()
        if names := DEFINED.findall(code): cells[code] = names
    return cells


def definitions(text, notebook, repo):
    "Put the module's name, a link to the source and an anchor for each name above the cells that define something."
    cells, module = exported(notebook), f'ddpm_lit/{notebook.stem[3:]}.py'
    if not cells: return text, set()
    lines, shown = (root/module).read_text(encoding='utf-8').splitlines(), set()
    def head(m):
        code = '\n'.join(line.rstrip() for line in html.unescape(re.sub(r'<[^>]+>', '', m[1])).splitlines()).strip()
        names = [n for n in cells.get(code, []) if n not in shown]
        if not names: return m[0]
        shown.update(names)
        line = next((i for i, l in enumerate(lines, 1) if DEFINED.match(l) and DEFINED.match(l)[1] == names[0]), 1)
        anchors = ''.join(f'<span id="{n}"></span>' for n in names)
        return f'<div class="definition">{anchors}<span>{module[:-3].replace("/", ".")}</span> <a href="{repo}/{module}#L{line}" aria-label="source of {names[0]}">source</a></div>{m[0]}'
    text = CODE.sub(head, text)
    if missing := {n for names in cells.values() for n in names} - shown: sys.exit(f'{notebook.name}: the page does not show {sorted(missing)}')
    return text, shown


def rename(site):
    "nbdev, and with it every link to a name, calls a page forward.html; smalldocs calls it 01_forward.html."
    numbered = sorted(p.name for p in site.glob('[0-9][0-9]_*.html'))
    for name in numbered: (site/name).rename(site/name[3:])
    for f in [f for kind in ('html', 'json', 'xml', 'txt') for f in site.glob(f'*.{kind}')] if numbered else []:
        text = f.read_text(encoding='utf-8')
        f.write_text(re.sub('|'.join(map(re.escape, numbered)), lambda m: m[0][3:], text), encoding='utf-8')


def finish(site):
    "What both renderers leave to us."
    config = ConfigParser(delimiters=['='], interpolation=None)
    config.read(root/'settings.ini', encoding='utf-8')
    config = config['DEFAULT']
    base, repo = config['doc_baseurl'].strip('/'), f"{config['git_url']}/blob/{config['branch']}"
    home = f"{config['doc_host']}/{base}/"
    rename(site)
    pages = {p: p.read_text(encoding='utf-8') for p in site.rglob('*.html')}
    notebooks = {p.stem[3:] if p.stem[:2].isdigit() else p.stem: p for p in (root/'nbs').glob('*.ipynb')}
    if missing := set(notebooks) - {p.stem for p in pages}: sys.exit(f'no page for {sorted(missing)}')
    shown = {}
    for page in pages:
        if page.stem in notebooks: pages[page], shown[page.name] = definitions(pages[page], notebooks[page.stem], repo)
    def here(m):
        "A link to the published site, as a link inside this one; a name that its page does not show has no anchor."
        name = (m[4] or '').split('.')[0]   # a method has no anchor, its class has
        anchor = f'#{name}' if name and (name in shown.get(m[3], ()) or f'id="{name}"' in pages.get(site/m[3], '')) else ''
        return f'{m[1]}="{m[2] or ""}{m[3] or "index.html"}{anchor}"'
    card = ''.join(f'<meta property="og:{k}" content="{v}">\n<meta name="twitter:{k}" content="{v}">\n' for k, v in {'image': home + 'card.png', 'image:alt': CARD}.items())
    for page, text in pages.items():
        up = '../'*(len(page.relative_to(site).parts) - 1)
        text = re.sub(rf'\b(href|src)="({re.escape(up)})?{re.escape(home)}([\w./-]*)(?:#([\w.-]+))?"', here, text)
        text = re.sub(r'https://cdn\.jsdelivr\.net/npm/katex@[\w.-]+/dist', f'{up}site_libs/katex', ELSEWHERE.sub('', text))
        text = PREVIEW.sub('', text).replace('</head>', card + '</head>', 1)
        text = FIGURE.sub(lambda m: f'<p>{m[1] or ""}<img {m[2]} alt="{html.escape(re.sub("<[^>]+>", "", m[4]))}">{m[3] or ""}</p>', text)
        text = CAPTION.sub(r'<p class="caption">\1</p>', BADGE.sub(BUTTONS, text))
        before, heading, exercises = text.partition('id="exercises"')
        text = subscripts(before + heading + exercises.replace('<summary>Code</summary>', '<summary>Solution</summary>'))
        if page.name == '404.html': text = text.replace('<head>', f'<head><base href="/{base}/">', 1)
        page.write_text(text, encoding='utf-8')
    for css in site.rglob('*.css'): css.write_text(WEBFONT.sub(lambda m: '' if '//' in m[0] else m[0], css.read_text(encoding='utf-8')), encoding='utf-8')
    sitemap = (site/'sitemap.xml').read_text(encoding='utf-8')
    (site/'sitemap.xml').write_text(re.sub(r'\s*<url>\s*<loc>[^<]*/404\.html</loc>.*?</url>', '', sitemap, flags=re.S), encoding='utf-8')
    npm(KATEX, site/'site_libs/katex', r'^(katex\.min\.(js|css)|contrib/auto-render\.min\.js|fonts/.*\.woff2)$')
    npm(ORT, site/'site_libs/ort', r'^(ort\.wasm\.min\.mjs|ort-wasm-simd-threaded\.(mjs|wasm))$')
    (site/'notebooks').mkdir(exist_ok=True)
    for notebook in notebooks.values(): shutil.copy(notebook, site/'notebooks')
    return pages


def build(quarto):
    "Render the notebooks from scratch; the folder with the pages."
    site = root/'_docs'
    for folder in (root/'_proc', site): shutil.rmtree(folder, ignore_errors=True)
    if quarto:
        subprocess.run(['nbdev_docs'], cwd=root, check=True)
        (root/'nbs/nbdev.yml').unlink()   # settings that nbdev writes for a _quarto.yml that includes them; ours does not
    else:
        from nbdev.serve import proc_nbs
        proc_nbs(force=True)
        subprocess.run(['smalldocs', 'render', str(root/'_proc')], check=True)
        shutil.move(root/'_proc/_docs', site)
    return site


def main():
    if sys.argv[1:] not in ([], ['--quarto']): sys.exit(__doc__)
    site = build(bool(sys.argv[1:]))
    pages = finish(site)
    print(f'{len(pages)} pages in {site}, {sum(f.stat().st_size for f in site.rglob("*") if f.is_file())/1e6:.1f} MB')


if __name__ == '__main__': main()
