#!/usr/bin/env python3
"""Build the website without Quarto, into _proc/_site: nbdev prepares the notebooks, smalldocs renders them, and KaTeX
comes out of the npm registry's package, so that the pages load nothing from another host.

usage: site.py        needs the dev extra and npm
"""
import shutil, subprocess, sys, tarfile, tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent
site = root/'_proc/_site'


def vendor_katex(site):
    "Point every page at a copy of KaTeX inside the site, of the version that smalldocs names."
    from smalldocs.layout import KATEX   # …/katex@VERSION/dist
    with tempfile.TemporaryDirectory() as tmp:
        spec = next(part for part in KATEX.split('/') if part.startswith('katex@'))
        subprocess.run(['npm', 'pack', '--silent', spec], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(tmp).glob('*.tgz'))) as tar: tar.extractall(tmp, filter='data')
        shutil.copytree(Path(tmp)/'package/dist', site/'site_libs/katex', dirs_exist_ok=True,
                        ignore=lambda folder, names: [n for n in names if n.endswith(('.ttf', '.woff', '.mjs', '.ts', '.md'))])
    for page in site.rglob('*.html'):
        up = '../'*(len(page.relative_to(site).parts) - 1)
        page.write_text(page.read_text(encoding='utf-8').replace(KATEX, f'{up}site_libs/katex'), encoding='utf-8')


def main():
    from nbdev.serve import proc_nbs
    shutil.rmtree(root/'_proc', ignore_errors=True)
    proc_nbs(force=True)
    subprocess.run(['smalldocs', 'render', str(root/'_proc')], check=True)
    vendor_katex(site)
    pages = sorted(site.glob('*.html'))
    missing = {p.stem for p in (root/'nbs').glob('*.ipynb')} - {p.stem for p in pages}
    if missing: sys.exit(f'no page for {sorted(missing)}')
    print(f'{len(pages)} pages in {site.relative_to(root)}, {sum(f.stat().st_size for f in site.rglob("*") if f.is_file())/1e6:.1f} MB')


if __name__ == '__main__': main()
