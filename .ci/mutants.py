#!/usr/bin/env python3
"""Make mutants of the exported mathematics by rule, and count how many of them each chapter's own cells catch.

mutations.py plants mistakes that somebody thought of. This program needs no list: in every exported cell it changes one
operator, comparison, constant, index, root, clamp or order of arguments at a time, runs the chapter on from there in a
fork (a chapter that imports its own module at its top, once more from the top), and calls the mutant caught if a cell fails,
for whatever reason, or does not end. Cells that only draw are left out.
survivors.json beside this file names the mutants that may survive: "equivalent, because …" where no output can change,
"mend" where a check is still missing. The share caught is counted without the equivalent ones.

usage: mutants.py                    every mutant of every chapter (hours), written to results/mutants.json
       mutants.py CHAPTER ...        of these chapters, named by number or in full
       mutants.py --sample K ...     at most K a chapter, drawn at random, the same ones for the same --seed N
       mutants.py --inside F,G CHAPTER   only those inside these functions or classes of one chapter, kept as a line of its own
       mutants.py --new ...          only those that results/mutants.json calls survivors, after a check was added
       mutants.py --list ...         print the mutants and run none
       mutants.py --check            a small sample, which changes with the day, of the chapters all of whose mutants have been
                                     judged; fails if one survives that is not listed
"""
import argparse, ast, datetime, json, multiprocessing, os, random, shutil, sys, tempfile, time
from pathlib import Path
from mutations import WAITED, code_cells, exported, in_fork, put_back

root = Path(__file__).resolve().parent.parent
results, listed = root/'results/mutants.json', root/'.ci/survivors.json'
LIMIT_S = 120                                                        # of processor time, for one mutant; longer counts as caught
BINARY = {ast.Add: '-', ast.Sub: '+', ast.Mult: '/', ast.Div: '*', ast.FloorDiv: '/', ast.Mod: '*', ast.Pow: '*'}
SIGN = {ast.Add: '+', ast.Sub: '-', ast.Mult: '*', ast.Div: '/', ast.FloorDiv: '//', ast.Mod: '%', ast.Pow: '**'}
COMPARE = {ast.Lt: ['<=', '>='], ast.LtE: ['<', '>'], ast.Gt: ['>=', '<='], ast.GtE: ['>', '<'], ast.Eq: ['!='],
           ast.NotEq: ['=='], ast.Is: ['is not'], ast.IsNot: ['is'], ast.In: ['not in'], ast.NotIn: ['in']}
DROPPED = set('sqrt square clamp log log1p exp expm1 abs round flip cumprod cos sin double eval T mT'.split())
SWAPPED = {'mean': 'sum', 'sum': 'mean', 'amax': 'amin', 'amin': 'amax', 'max': 'min', 'min': 'max', 'std': 'var',
           'cos': 'sin', 'sin': 'cos', 'argmax': 'argmin', 'all': 'any', 'any': 'all'}


class Rules(ast.NodeVisitor):
    "Collects (start, end, new text) of every change, in characters of the source."
    def __init__(self, source):
        self.source, self.found = source, []
        self.starts = [0]
        for line in source.splitlines(True): self.starts.append(self.starts[-1] + len(line))

    def place(self, row, col): return self.starts[row - 1] + len(self.source.splitlines()[row - 1].encode()[:col].decode())
    def span(self, node): return self.place(node.lineno, node.col_offset), self.place(node.end_lineno, node.end_col_offset)
    def text(self, node): a, b = self.span(node); return self.source[a:b]
    def put(self, node, new): self.found.append((*self.span(node), new))
    def between(self, left, right, old, new):
        "Replace the operator that stands between two operands."
        a, b = self.span(left)[1], self.span(right)[0]
        k = self.source.find(old, a, b)
        if k >= 0: self.found.append((k, k + len(old), new))

    def visit_BinOp(self, node):
        new = BINARY.get(type(node.op))
        if new and not isinstance(node.left, (ast.JoinedStr, ast.List)) and not (isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)):
            self.between(node.left, node.right, SIGN[type(node.op)], new)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        new = BINARY.get(type(node.op))
        if new: self.between(node.target, node.value, SIGN[type(node.op)] + '=', new + '=')
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, (ast.USub, ast.Not, ast.Invert)): self.put(node, f'({self.text(node.operand)})')
        self.generic_visit(node)

    def visit_Compare(self, node):
        left = node.left
        for op, right in zip(node.ops, node.comparators):
            old = {ast.Lt: '<', ast.LtE: '<=', ast.Gt: '>', ast.GtE: '>=', ast.Eq: '==', ast.NotEq: '!=', ast.Is: 'is', ast.IsNot: 'is not',
                   ast.In: 'in', ast.NotIn: 'not in'}[type(op)]
            for new in COMPARE[type(op)]: self.between(left, right, old, new)
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        old, new = ('and', 'or') if isinstance(node.op, ast.And) else ('or', 'and')
        self.between(node.values[0], node.values[1], old, new)
        self.generic_visit(node)

    def visit_Constant(self, node):
        v = node.value
        if isinstance(v, bool): self.put(node, str(not v))
        elif isinstance(v, int): self.put(node, f'{v + 1}')
        elif isinstance(v, float): self.put(node, f'{v*2 if v else 1.}')

    def visit_Call(self, node):
        f = node.func
        if isinstance(f, ast.Attribute):
            if f.attr in DROPPED and self.text(f.value) not in ('torch', 'math', 'np'): self.put(node, f'({self.text(f.value)})')
            if f.attr in DROPPED and self.text(f.value) in ('torch', 'math', 'np') and node.args: self.put(node, f'({self.text(node.args[0])})')
            if f.attr in SWAPPED: self.found.append((self.span(f)[1] - len(f.attr), self.span(f)[1], SWAPPED[f.attr]))
        if len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args[:2]) and self.text(node.args[0]) != self.text(node.args[1]):
            if not any(isinstance(a, ast.Constant) and isinstance(a.value, str) for a in node.args[:2]):
                (a, b), (c, d) = self.span(node.args[0]), self.span(node.args[1])
                self.found.append((a, d, self.source[c:d] + self.source[b:c] + self.source[a:b]))
        self.generic_visit(node)

    def visit_Attribute(self, node):
        if node.attr in ('T', 'mT') and isinstance(node.ctx, ast.Load) and self.text(node.value) not in ('schedule', 'self', 'denoise.schedule'):
            self.put(node, f'({self.text(node.value)})')
        self.generic_visit(node)

    def visit_FunctionDef(self, node):
        for d in node.args.defaults + [d for d in node.args.kw_defaults if d is not None]: self.visit(d)
        for s in node.body: self.visit(s)
    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node):
        if node.value is not None: self.visit(node.value)
    def visit_JoinedStr(self, node): pass                            # the words of messages
    def visit_Raise(self, node): pass
    def visit_Import(self, node): pass
    visit_ImportFrom = visit_Import


def mutants_of(source):
    "(name, mutated source) of every mutant of one exported cell."
    body = source
    try: tree = ast.parse(body)
    except SyntaxError: return
    owner = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for row in range(node.lineno, node.end_lineno + 1): owner[row] = node.name
    rules, lines, seen = Rules(body), body.splitlines(), {}
    for statement in tree.body: rules.visit(statement)
    for a, b, new in rules.found:
        row = body.count('\n', 0, a) + 1
        name = f"{owner.get(row, '')}: {lines[row - 1].strip()[:90]} | {' '.join(body[a:b].split())} -> {' '.join(new.split())}"
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1: name += f' #{seen[name]}'
        mutated = body[:a] + new + body[b:]
        try: ast.parse(mutated)
        except SyntaxError: continue
        if mutated != body: yield name, mutated


def needed(cells):
    "Which cells must run to judge a mutant: those that check something, and those that make what a later needed one uses."
    keep, used = [False]*len(cells), set()
    for i in range(len(cells) - 1, -1, -1):
        source = cells[i][1]
        try: tree = ast.parse(source)
        except SyntaxError: keep[i] = True; continue
        names = lambda kind: {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, kind)}
        defined = names(ast.Store) | {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))} | {
            (a.asname or a.name).split('.')[0] for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
        checks = any(isinstance(n, ast.Assert) for n in ast.walk(tree)) or 'test_' in source or 'assert_' in source or 'ExceptionExpected' in source
        drawing = any(w in source for w in ('plt.', 'show_images', 'fig', 'FrameSlider', 'explore(', 'print('))
        keep[i] = checks or exported(source) or bool(defined & used) or not drawing
        if keep[i]: used |= names(ast.Load)
    return keep


def verdict(shell, cells, keep, start, mutated, module):
    "['caught', where] or ['survived', '']."
    source = cells[start][1]
    head, _, body = source.partition('\n')
    module.write_text(module.read_text(encoding='utf-8').replace(body, mutated), encoding='utf-8')
    def failed(first):
        for i, (where, text) in enumerate(cells[first:], first):
            if not keep[i]: continue
            shell.run(f'{head}\n{mutated}' if i == start else text)
            if shell.exc is not None: return ['caught', f'{where}: {type(shell.exc).__name__}']
    if said := failed(start): return said
    own = f'ddpm_lit.{module.stem}'
    if any(f'from {own} import' in text for _, text in cells[:start]):   # it shows first what it builds below
        del sys.modules[own]
        if said := failed(0): return said
    return ['survived', '']


def judge(chapter, chosen, deadline):
    "Run a chapter once, with a fork for each chosen mutant of each exported cell; {name: [verdict, where]}."
    from execnb.shell import CaptureShell
    told, cells, began = {}, code_cells(chapter), time.time()
    keep = needed(cells)
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)/'work'
        for name in ('ddpm_lit', 'nbs', 'results'): shutil.copytree(root/name, work/name, symlinks=True)
        (work/'tmp').mkdir()
        tempfile.tempdir = str(work/'tmp')
        os.chdir(work/'nbs')
        os.environ.update(IN_TEST='1', PYTHONPATH=str(work), TMPDIR=tempfile.tempdir)
        sys.path.insert(0, str(work))
        shell, module = CaptureShell(work/'nbs'/f'{chapter}.ipynb'), work/'ddpm_lit'/f'{chapter[3:]}.py'
        code = module.read_text(encoding='utf-8')
        for i, (where, source) in enumerate(cells):
            if not keep[i]: continue
            body = source.partition('\n')[2]
            if exported(source) and body in code:
                for name, mutated in mutants_of(body):
                    if name not in chosen or time.time() > deadline: continue
                    start = time.time()
                    with put_back(work): told[name] = in_fork(lambda: verdict(shell, cells, keep, i, mutated, module), LIMIT_S) or ['caught', 'no end, or the process died']
                    if told[name] == WAITED: del told[name]; continue      # not judged
                    if told[name][0] == 'survived': print(f'survived  {chapter}  {name}  ({time.time() - start:.0f} s)', flush=True)
            shell.run(source)
            if shell.exc is not None:
                print(f'CONTROL   {chapter}: the chapter as it is fails at {where}: {shell.exc!r}', flush=True)
                told = None
                break
        os.chdir(root)
    print(f'{chapter}: {len(told or ())} mutants in {time.time() - began:.0f} s', flush=True)
    return chapter, told


def judge_all(task): return judge(*task)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('chapters', nargs='*'); p.add_argument('--sample', type=int); p.add_argument('--seed', type=int, default=0)
    p.add_argument('--inside', type=lambda s: s.split(','), default=[])
    p.add_argument('--new', action='store_true'); p.add_argument('--list', action='store_true'); p.add_argument('--check', action='store_true')
    p.add_argument('--workers', type=int, default=len(os.sched_getaffinity(0))); p.add_argument('--minutes', type=float, default=1e6)
    args = p.parse_args()
    if args.check: args.sample, args.seed, args.minutes = args.sample or 12, datetime.date.today().toordinal(), min(args.minutes, 6)
    before = json.loads(results.read_text(encoding='utf-8')) if results.exists() else {}
    excused = json.loads(listed.read_text(encoding='utf-8')) if listed.exists() else {}
    chapters = [f.stem for f in sorted((root/'nbs').glob('[0-9]*.ipynb')) if not args.chapters or any(f.stem.startswith(c) for c in args.chapters)]
    key = lambda c: f"{c}: {', '.join(args.inside)}" if args.inside else c
    def every(c): return [n for _, source in code_cells(c) if exported(source) for n, _ in mutants_of(source.partition('\n')[2])
                          if not args.inside or n.partition(':')[0] in args.inside]
    work = {}
    for c in chapters:
        names = every(c)
        if args.new: names = [n for n in names if n in before.get(key(c), {}).get('survived', [])]
        if args.check:                                               # a chapter that was judged whole has its survivors listed
            judged = before.get(c, dict(mutants=0, of=1))
            names = [n for n in names if n not in excused.get(c, {})] if judged['mutants'] == judged['of'] else []
        if args.sample and len(names) > args.sample: names = random.Random(args.seed).sample(names, args.sample)
        work[c] = names
        if args.list: print('\n'.join(f'{c}  {n}' for n in names))
    print(f"{sum(map(len, work.values()))} mutants: {', '.join(f'{c} {len(n)}' for c, n in work.items())}", flush=True)
    if args.list: return 0
    os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    import execnb.shell, matplotlib.pyplot, sympy, torch, torchvision   # once, before the forks
    torch.set_num_threads(1)
    deadline = time.time() + 60*args.minutes
    bad = 0
    with multiprocessing.get_context('fork').Pool(args.workers, maxtasksperchild=1) as pool:
        for c, t in pool.imap_unordered(judge_all, [(c, set(n), deadline) for c, n in work.items() if n]):
            if t is None: bad += 1; continue
            survived, known = sorted(n for n, v in t.items() if v[0] == 'survived'), excused.get(c, {})
            equivalent = [n for n in survived if known.get(n, '').startswith('equivalent')]
            unlisted = [n for n in survived if n not in known]
            bad += bool(args.check and unlisted)
            print(f"{c:<20} {len(t)} mutants, {len(t) - len(survived)} caught, {len(equivalent)} equivalent, {len(unlisted)} unlisted survivors: "
                  f"{(len(t) - len(survived))/max(1, len(t) - len(equivalent)):.1%} caught", flush=True)
            if args.check: continue
            before = json.loads(results.read_text(encoding='utf-8')) if results.exists() else {}
            if args.new:                                             # the others were caught before
                old = before[key(c)]
                before[key(c)] = old | dict(survived=sorted(set(old['survived']) - set(t) | set(survived)))
            else: before[key(c)] = dict(mutants=len(t), of=len(every(c)), survived=survived)
            results.write_text(json.dumps(before, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')
    return int(bad > 0)


if __name__ == '__main__': sys.exit(main())
