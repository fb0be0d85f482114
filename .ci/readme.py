#!/usr/bin/env python3
"""Write README.md from nbs/index.ipynb, or say what of it is stale, or print one of its commands.

usage: readme.py            write README.md
       readme.py --check    exit with 1 if README.md is not what the notebook gives, or claims what no longer holds
       readme.py --command N    print the N-th shell command block (1: the main job, 2: the tests)
Standard library only.
"""
import json, re, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def page(nb):
    "The notebook as Markdown: text as it stands, code fenced, text outputs below it; links made relative to the root."
    out = []
    for cell in nb['cells']:
        source = ''.join(cell['source']).strip()
        source = re.sub(r'\n*<script.*?</script>', '', source, flags=re.S)   # GitHub would show it as text
        source = re.sub(r'(src=")https://ddpm-lit\.github\.io/ddpm_lit/([\w.-]+\.png)', r'\1\2', source)       # on GitHub the picture of this very commit
        if cell['cell_type'] == 'markdown': out.append(re.sub(r'(\]\(|src=")(?!https?:|#)', r'\1nbs/', source))
        elif not re.search(r'^#\| *(hide|default_exp)', source, re.M):
            code = '\n'.join(l for l in source.splitlines() if not l.startswith('#|'))
            text = ''.join(''.join(o.get('text', o.get('data', {}).get('text/plain', ''))) for o in cell['outputs']
                           if 'image/png' not in o.get('data', {}))
            out.append(f'```python\n{code}\n```' + (f'\n\n```\n{text.rstrip()}\n```' if text.strip() else ''))
    return '\n\n'.join(out) + '\n'


def claims(text):
    "What README.md and the page of notation say that no longer holds: ratios of the benchmarks, numbers of equations."
    races, known = (root/'nbs/benchmarks.md').read_text(encoding='utf-8'), json.loads((root/'.ci/equations.json').read_text(encoding='utf-8'))
    ratios = {f: re.search(rf'^\| ddpm_lit {f} / diffusers {f} \| ([\d.]+)', races, re.M)[1] for f in ('fp32', 'bf16')}
    wrong = [f'README.md does not say {r} ({f}), as benchmarks.md does' for f, r in ratios.items() if f'{r} ({f})' not in text]
    cited = re.findall(r'\((\d+\.\d+)\)', text + (root/'nbs/notation.md').read_text(encoding='utf-8'))
    return wrong + [f'there is no equation ({n})' for n in cited if n not in known]


def main(args):
    text = page(json.loads((root/'nbs/index.ipynb').read_text(encoding='utf-8')))
    readme = root/'README.md'
    if args[:1] == ['--command']: return print(re.findall(r'^```sh\n(.*?)^```', readme.read_text(encoding='utf-8'), re.M | re.S)[int(args[1]) - 1])
    if args == ['--check'] and (wrong := claims(text)): sys.exit('\n'.join(wrong))
    if args == ['--check']: return None if readme.read_text(encoding='utf-8') == text else sys.exit('README.md is stale: run python .ci/readme.py')
    if args: sys.exit(__doc__)
    readme.write_text(text, encoding='utf-8')


if __name__ == '__main__': main(sys.argv[1:])
