#!/usr/bin/env python3
"""Build the website without Quarto, into _proc/_site: nbdev prepares the notebooks, smalldocs renders them. Then finish
it: KaTeX and the ONNX runtime come out of the npm registry's packages, so that the pages load nothing from another host.

usage: site.py             build and finish; needs the dev extra and npm
       site.py FOLDER      finish a site that Quarto rendered there (nbdev_docs); needs npm
"""
import re, shutil, subprocess, sys, tarfile, tempfile
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
KATEX = re.compile(r'https://cdn\.jsdelivr\.net/npm/(katex@[\w.-]+)/dist')
ORT = 'onnxruntime-web@1.20.1'
BADGE = re.compile(r'<a [^>]*href="(https://colab\.research\.google\.com/[^"]*/([^/"]+\.ipynb))"[^>]*>\s*<img[^>]*>\s*</a>')
BUTTONS = (r'<span class="page-buttons"><a href="\1">Open in Colab</a> <a href="notebooks/\2" download>Download notebook</a></span>')
PAINT = '<a class="first" href="live.html">Paint some in your browser</a>'
COMMENT_LINK = re.compile(r'\[(`[^`<]*`)\]\(https?://[^)\s<]*\)(?=[^<]*</span>)')   # nbdev links names even in code, where it shows as it stands
CAPTION = re.compile(r'<p>(<em>(?:(?!</?em>|</p>).)*</em>)</p>', re.S)   # a paragraph all in italics
NAME = re.compile(r'(?<![\w\\{/#.])([A-Za-zα-ωᾱ]\u0304?\u0302?)_(?:\{([^{}<>\s]{1,8})\}|(ij|[0-9A-Za-zα-ω]))(?![A-Za-z0-9_{])')   # x_0, β_t, x_{t-1}
VERBATIM = re.compile(r'(<(?:pre|code|script|style|head|button|option)\b.*?</(?:pre|code|script|style|head|button|option)>|<span class="math.*?</span>|<[^>]*>)', re.S)
WEBFONT = re.compile(r'@import url\([^)]*//fonts\.[^)]*\);?')


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


def finish(site):
    "What both renderers leave to us: local copies of what pages load, buttons, and a 404 page that works at any depth."
    config = ConfigParser(delimiters=['='], interpolation=None)
    config.read(root/'settings.ini', encoding='utf-8')
    base, specs = config['DEFAULT']['doc_baseurl'].strip('/'), set()
    own = re.compile(rf'href="{re.escape(config["DEFAULT"]["doc_host"])}/{re.escape(base)}/([\w.-]*)(#\w+)?(?:\.\w+)?')   # a method has no anchor, its class has
    def here(page):
        "The page's own name: nbdev links to forward.html, which smalldocs calls 01_forward.html."
        return next((p.name for p in [site/page, *sorted(site.glob(f'[0-9][0-9]_{page}'))] if page and p.exists()), page or 'index.html')
    for page in site.rglob('*.html'):
        up, text = '../'*(len(page.relative_to(site).parts) - 1), page.read_text(encoding='utf-8')
        specs.update(KATEX.findall(text))
        text = BADGE.sub(BUTTONS, KATEX.sub(f'{up}site_libs/katex', text))
        text = CAPTION.sub(r'<p class="caption">\1</p>', COMMENT_LINK.sub(r'\1', text)).replace('>Exported source<', '>Code<')
        before, heading, exercises = text.partition('id="exercises"')
        text = before + heading + exercises.replace('<summary>Code</summary>', '<summary>Solution</summary>')
        text = subscripts(own.sub(lambda m: f'href="{up}{here(m[1])}{m[2] or ""}', text))
        if page.name == 'index.html': text = text.replace('<span class="page-buttons">', f'<span class="page-buttons">{PAINT} ', 1)
        if page.name == '404.html': text = text.replace('<head>', f'<head><base href="/{base}/">', 1)
        page.write_text(text, encoding='utf-8')
    for css in site.rglob('*.css'): css.write_text(WEBFONT.sub('', css.read_text(encoding='utf-8')), encoding='utf-8')
    sitemap = (site/'sitemap.xml').read_text(encoding='utf-8')
    (site/'sitemap.xml').write_text(re.sub(r'\s*<url>\s*<loc>[^<]*/404\.html</loc>.*?</url>', '', sitemap, flags=re.S), encoding='utf-8')
    if len(specs) > 1: sys.exit(f'pages name several versions of KaTeX: {sorted(specs)}')
    for spec in specs: npm(spec, site/'site_libs/katex', r'^(katex\.min\.(js|css)|contrib/auto-render\.min\.js|fonts/.*\.woff2)$')
    npm(ORT, site/'site_libs/ort', r'^(ort\.wasm\.min\.mjs|ort-wasm-simd-threaded\.(mjs|wasm))$')
    (site/'notebooks').mkdir(exist_ok=True)
    for notebook in (root/'nbs').glob('*.ipynb'): shutil.copy(notebook, site/'notebooks')


def build():
    "Render the notebooks with smalldocs."
    from nbdev.serve import proc_nbs
    shutil.rmtree(root/'_proc', ignore_errors=True)
    proc_nbs(force=True)
    subprocess.run(['smalldocs', 'render', str(root/'_proc')], check=True)
    return root/'_proc/_site'


def main():
    site = Path(sys.argv[1]) if sys.argv[1:] else build()
    finish(site)
    pages = sorted(site.glob('*.html'))
    missing = {p.stem for p in (root/'nbs').glob('*.ipynb')} - {p.stem for p in pages}
    if missing and not sys.argv[1:]: sys.exit(f'no page for {sorted(missing)}')
    print(f'{len(pages)} pages in {site}, {sum(f.stat().st_size for f in site.rglob("*") if f.is_file())/1e6:.1f} MB')


if __name__ == '__main__': main()
