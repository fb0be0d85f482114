#!/usr/bin/env python3
"""Count the numbered equations of the notebooks and the cells that check them.

An equation is a `\\tag{chapter.number}` in a markdown cell; its check is a code cell with the comment
`# checks (chapter.number)` above its code, that asserts something and that every test run executes.
Prints a table and fails on an unchecked equation, a check without an assertion or without an equation,
a tag used twice or one with another chapter's number. Standard library only.

usage: equations.py [--list] [NBS_DIR]
"""
import json, re, sys
from pathlib import Path

TAG = re.compile(r'\\tag\{(\w+\.\d+)\}')
CHECKS = re.compile(r'^# checks((?: *\(\w+\.\d+\),?)+)', re.M)
NAME = re.compile(r'\((\w+\.\d+)\)')
ASSERTS = re.compile(r'\bassert|\btest_\w+\(|\bExceptionExpected\b')
NOT_RUN = re.compile(r'^#\| *(?:cuda|eval: *false)', re.M)


def read(path):
    "(cell type, source) of every cell of a notebook."
    return [(c['cell_type'], ''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells']]


def audit(path):
    "The equations of one notebook, the subset that is checked, and what is wrong."
    tags, checked, wrong = [], set(), []
    for i, (kind, source) in enumerate(read(path)):
        if kind == 'markdown': tags += TAG.findall(source)
        if kind != 'code': continue
        names = {n for line in CHECKS.findall(source) for n in NAME.findall(line)}
        if names and not ASSERTS.search(source): wrong.append(f'cell {i} says it checks {sorted(names)} and asserts nothing')
        elif names and NOT_RUN.search(source): wrong.append(f'cell {i} checks {sorted(names)} but is not run by the tests')
        else: checked |= names
    chapter = path.stem[:2].lstrip('0') or '0'
    wrong += [f'({t}) is tagged {tags.count(t)} times' for t in sorted({t for t in tags if tags.count(t) > 1})]
    wrong += [f'({t}) does not carry the number of its chapter' for t in tags if t.split('.')[0] != chapter]
    wrong += [f'({t}) has no cell "# checks ({t})"' for t in tags if t not in checked]
    wrong += [f'there is a check of ({t}), but no such equation' for t in sorted(checked - set(tags))]
    return tags, checked & set(tags), wrong


def main(args):
    folder = Path(next((a for a in args if not a.startswith('-')), 'nbs'))
    paths = sorted(p for p in folder.glob('*.ipynb') if not p.name.startswith('_'))
    if not paths: sys.exit(f'no notebooks in {folder}')
    rows = [(p.stem, *audit(p)) for p in paths]
    print(f"{'chapter':<22}{'equations':>10}{'checked':>10}")
    for name, tags, checked, _ in rows: print(f'{name:<22}{len(tags):>10}{len(checked):>10}')
    total, done = sum(len(r[1]) for r in rows), sum(len(r[2]) for r in rows)
    print(f"{'all':<22}{total:>10}{done:>10}")
    if '--list' in args:
        for name, tags, checked, _ in rows:
            for t in tags: print(f"({t}) {'checked' if t in checked else 'UNCHECKED':<10}{name}")
    wrong = [f'{name}: {w}' for name, _, _, ws in rows for w in ws]
    print('\n'.join(wrong))
    return 1 if wrong or not total else 0


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
