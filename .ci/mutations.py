#!/usr/bin/env python3
"""Plant known mistakes into the exported code, one at a time, and see whether the chapters' own checks catch them.

Each mistake of mutations.json replaces a text, which must occur exactly once, in an exported cell of one chapter; then the
chapters named with it run, on a copy of the project, until a cell fails. Prints per mistake `caught` and the cell that
caught it, or SURVIVED; exits with 1 if one survived.

usage: mutations.py              all of them
       mutations.py --part I/N   every N-th, from the I-th on (for a continuous integration that rotates)
       mutations.py WORD ...     those whose name contains one of the words
"""
import json, multiprocessing as mp, os, shutil, sys, tempfile, time
from pathlib import Path

root = Path(__file__).resolve().parent.parent
LIMIT_S = 300   # a run that takes longer has hung: caught


def plant(work, mistake):
    "Copy the project to `work` and replace the mistake's text in its chapter's notebook and module."
    from nbdev.export import nb_export
    for name in ('ddpm_lit', 'nbs', '.ci', 'settings.ini', 'README.md', '_quarto.yml'):
        (shutil.copytree if (root/name).is_dir() else shutil.copy)(root/name, work/name, **({'symlinks': True} if (root/name).is_dir() else {}))
    path = work/'nbs'/f"{mistake['chapter']}.ipynb"
    nb = json.loads(path.read_text(encoding='utf-8'))
    exported = [c for c in nb['cells'] if c['cell_type'] == 'code' and ''.join(c['source']).startswith(('#| export', '#| exports'))]
    hits = [c for c in exported if mistake['old'] in ''.join(c['source'])]
    if sum(''.join(c['source']).count(mistake['old']) for c in hits) != 1:
        raise ValueError(f"{mistake['name']}: its text must occur once in the exported cells of {mistake['chapter']}, not {len(hits)} times: {mistake['old']!r}")
    hits[0]['source'] = ''.join(hits[0]['source']).replace(mistake['old'], mistake['new'])
    path.write_text(json.dumps(nb), encoding='utf-8')
    os.chdir(work)
    nb_export(path, lib_path=work/'ddpm_lit')


def first_failure(path):
    "Run a notebook in this process; the first cell that fails, as (its comment or first line, the error), or None."
    from execnb.shell import CaptureShell
    shell = CaptureShell(path)
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or source.startswith(('#| cuda', '#| eval: false')): continue
        error = shell._run(source).exception
        if error is not None:
            line = next((l for l in source.splitlines() if l.startswith('# ')), source.splitlines()[0])
            return line, type(error).__name__
    return None


def attempt(mistake, answers):
    "In a process of its own: plant, run the chapters, say what caught it."
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        try: plant(work, mistake)
        except ValueError as e: return answers.put((False, str(e)))
        sys.path.insert(0, str(work)); os.environ['PYTHONPATH'] = str(work); os.environ['IN_TEST'] = '1'
        for chapter in [mistake['chapter'], *mistake.get('also', [])]:
            os.chdir(work/'nbs')
            found = first_failure(work/'nbs'/f'{chapter}.ipynb')
            if found: return answers.put((True, f'{chapter}: {found[0]}  [{found[1]}]'))
        answers.put((False, 'SURVIVED'))


def judge(mistake):
    "(caught?, how) of one mistake."
    ctx = mp.get_context('fork')
    answers = ctx.SimpleQueue()
    child = ctx.Process(target=attempt, args=(mistake, answers))
    child.start(); child.join(LIMIT_S)
    if child.is_alive(): child.kill(); child.join(); return True, f'no end within {LIMIT_S} s'
    return answers.get() if not answers.empty() else (True, f'the process died with {child.exitcode}')


def chosen(args, mistakes):
    if args[:1] == ['--part']:
        i, n = map(int, args[1].split('/'))
        return mistakes[i % n::n]
    return [m for m in mistakes if not args or any(a in m['name'] for a in args)]


def main(args):
    import matplotlib.pyplot, sympy, torch, torchvision   # loaded once, before the forks
    torch.set_num_threads(1)
    mistakes = chosen(args, json.loads((root/'.ci/mutations.json').read_text(encoding='utf-8')))
    caught = 0
    for m in mistakes:
        start = time.time(); ok, how = judge(m); caught += ok
        print(f"{'caught  ' if ok else 'SURVIVED'} {m['name']:<58} {how}  ({time.time()-start:.0f} s)", flush=True)
    print(f'{caught} of {len(mistakes)} mistakes caught')
    return 0 if mistakes and caught == len(mistakes) else 1


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
