#!/usr/bin/env python3
"""Move the live controls of the chapters, as a reader with a kernel can: in Jupyter, Colab or VS Code.

usage: controls.py [CHAPTER ...]     all chapters that call `explore`, unless some are named, without .ipynb
A chapter runs in a kernel whose front end says that somebody is there, up to its call of `explore`. What comes back must be
a panel of ipywidgets, of whatever version is installed; each of its controls, moved through its values, must change the
picture. And the committed notebook must hold a slider in that place and no trace of a widget.
Prints one line per check and `N passed, N failed` last; exits with 1 if anything failed.
"""
import json, sys
from pathlib import Path
from checks import check, end
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

root = Path(__file__).resolve().parent.parent
WIDGET = 'application/vnd.jupyter.widget-'
PROBE = '''
import ipywidgets, json, time
panel, report = Out[max(Out)], {}
*controls, out, picture = panel.children
for c in controls:
    start, seen, before = time.time(), [], c.value
    options = c.options if hasattr(c, 'options') else (True, False) if isinstance(before, bool) else (c.min, c.max)
    for c.value in options: seen.append(picture.value)
    report[c.description] = dict(pictures=len(set(seen)), values=len(options), seconds=(time.time() - start)/len(options))
    c.value = before
print(json.dumps(dict(version=ipywidgets.__version__, kind=type(panel).__name__, slider='frame-slider' in picture.value, controls=report)))
'''


class Attended(NotebookClient):
    "A front end that could answer `input()`."
    async def async_start_new_kernel_client(self):
        kc = await super().async_start_new_kernel_client()
        kc.allow_stdin = True
        return kc


def explores(cell): return cell.cell_type == 'code' and any(l.startswith('explore(') for l in cell.source.splitlines())


def saved(name, nb):
    "The committed notebook shows a slider wherever it calls `explore`, and holds no widget."
    check(f'{name}: no widget is saved', WIDGET not in json.dumps(nb), 'widgets in its metadata or outputs')
    for cell in filter(explores, nb.cells):
        check(f'{name}: a slider stands in for the controls', 'frame-slider' in json.dumps(cell.outputs), cell.source)


def move(name, nb):
    "Run the chapter and move its controls."
    cells = [c for c in nb.cells if c.cell_type == 'code' and not c.source.startswith('#| cuda')]
    last = max(i for i, c in enumerate(cells) if explores(c))
    run = nbformat.v4.new_notebook()
    for c in cells[:last + 1]:
        run.cells.append(nbformat.v4.new_code_cell(c.source))
        if explores(c): run.cells.append(nbformat.v4.new_code_cell(PROBE))
    try: Attended(run, timeout=900, kernel_name='python3', resources={'metadata': {'path': str(root/'nbs')}}).execute()
    except CellExecutionError as e: return check(f'{name}: runs with somebody there', False, e)
    for cell in run.cells:
        if cell.source != PROBE: continue
        report = json.loads(''.join(o.text for o in cell.outputs if o.get('name') == 'stdout'))
        check(f"{name}: ipywidgets {report['version']} gives a panel with a picture", report['kind'] == 'interactive' and report['slider'], report)
        for control, r in report['controls'].items():
            check(f"{name}: {control} repaints ({r['pictures']} pictures for {r['values']} values, {r['seconds']:.2f} s each)", r['pictures'] > 1, r)


def main():
    notebooks = {p.stem: nbformat.read(p, 4) for p in sorted((root/'nbs').glob('*.ipynb'))}
    notebooks = {name: nb for name, nb in notebooks.items() if any(map(explores, nb.cells)) and (not sys.argv[1:] or name in sys.argv[1:])}
    if not notebooks: sys.exit(f'no such chapter calls explore: {sys.argv[1:]}')
    for name, nb in notebooks.items():
        saved(name, nb)
        move(name, nb)
    end()


if __name__ == '__main__': main()
