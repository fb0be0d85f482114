#!/usr/bin/env python3
"""Write nbs/equations.md: every numbered equation, what it means, where it is derived, and how its check came out.

The meanings stand in equations.json beside this file. The errors are measured: the notebooks run with their comparisons
(test_close, assert_close, and `<` or `<=` in an assert) listened to, and the one that came nearest to its limit in the
cells that check an equation is kept, in results/equations.json.

usage: equations_page.py             write the page from what was last measured
       equations_page.py --measure [CHAPTER ...]   run the notebooks first, all (some minutes) or those named, such as 03_reverse
       equations_page.py --check     exit with 1 if the page is stale or an equation is missing in it
"""
import ast, json, multiprocessing, os, re, sys
from pathlib import Path
from equations import CHECKS, NAME, NOT_RUN, TAG, read

root = Path(__file__).resolve().parent.parent
page, results, meanings = root/'nbs/equations.md', root/'results/equations.json', root/'.ci/equations.json'
mutants, survivors = root/'results/mutants.json', root/'.ci/survivors.json'
chapters = sorted(p for p in (root/'nbs').glob('*.ipynb') if p.stem[:2].isdigit())


class Listener(ast.NodeTransformer):
    "Turn `a < b` inside an assert into `_compare(a, b, strict)`."
    def visit_Compare(self, node):
        self.generic_visit(node)
        if len(node.ops) > 1 or not isinstance(node.ops[0], (ast.Lt, ast.LtE)): return node
        strict = ast.Constant(isinstance(node.ops[0], ast.Lt))
        return ast.copy_location(ast.Call(ast.Name('_compare', ast.Load()), [node.left, node.comparators[0], strict], []), node)


def listening(source):
    "The source of a cell with every assert listened to; comments and magics of other cells stay as they are."
    try: tree = ast.parse(source)
    except SyntaxError: return source
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert): node.test = Listener().visit(node.test)
    return ast.unparse(ast.fix_missing_locations(tree)) + (';' if source.rstrip().endswith(';') else '')


def measure(path):
    "Run one notebook; for each equation, [largest error, its limit, number of comparisons] over the cells that check it."
    import fastcore.test, torch, torch.testing
    from execnb.shell import CaptureShell
    heard, now = {}, []

    def note(error, limit):
        for name in now: heard.setdefault(name, []).append((float(error), float(limit)))

    def compare(a, b, strict):
        ok = a < b if strict else a <= b
        try:
            x, y = torch.broadcast_tensors(torch.as_tensor(a).detach().double(), torch.as_tensor(b).detach().double())
            if (x <= y).all() and x.numel() and (y > 0).all(): i = (x.abs()/y).argmax(); note(x.flatten()[i].abs(), y.flatten()[i])
        except (TypeError, ValueError, RuntimeError): pass
        return ok

    def assert_close(actual, expected, *args, _real=torch.testing.assert_close, **kw):
        _real(actual, expected, *args, **kw)
        if not isinstance(actual, torch.Tensor): return
        rtol, atol = kw.get('rtol'), kw.get('atol')
        if rtol is None: rtol, atol = (1e-7, 1e-7) if actual.dtype == torch.float64 else (1.3e-6, 1e-5)
        error, limit = (actual.double() - expected.double()).abs().nan_to_num(0), (atol + rtol*expected.double().abs()).clamp(min=1e-300)
        if error.numel(): i = (error/limit).argmax(); note(error.flatten()[i], limit.flatten()[i])

    def test_close(a, b, eps=1e-5, _real=fastcore.test.test_close):
        _real(a, b, eps=eps)
        a, b = (torch.as_tensor(v, dtype=torch.float64).detach() for v in (a, b))
        note((a - b).abs().max(), eps)

    torch.testing.assert_close, fastcore.test.test_close = assert_close, test_close
    os.chdir(root/'nbs')
    shell = CaptureShell(path)
    shell.user_ns['_compare'] = compare
    for kind, source in read(path):
        if kind != 'code' or NOT_RUN.search(source): continue
        now[:] = sorted({n for line in CHECKS.findall(source) for n in NAME.findall(line)})
        ran = shell._run(source if source.startswith('#| export') or '%' in source[:1] else listening(source))
        if ran.exception: raise RuntimeError(f'{path.name} fails: {ran.exception!r} in\n{source}')
    tightest = {n: max(v, key=lambda e: e[0]/e[1] if e[1] else 0) for n, v in heard.items()}
    return {n: [*map(lambda x: float(f'{x:.2g}'), tightest[n]), len(v)] for n, v in heard.items()}


def slug(heading):
    "The anchor that a heading gets on the site."
    return re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', re.sub(r'^[\W\d_]+', '', heading.lower())))


def outcome(measured):
    "How a check came out, in words."
    if measured is None: return 'an exact equality or an inequality, with no error to measure'
    error, limit, n = measured
    return f'error {error:.2g}, allowed {limit:.2g}' + (f' (nearest of {n} comparisons)' if n > 1 else '')


def teeth():
    "The table of mistakes made by rule, chapter by chapter."
    judged, listed = (json.loads(p.read_text(encoding='utf-8')) for p in (mutants, survivors))
    out = ['## Would a wrong formula pass?', '', 'A program makes mistakes by rule: in every exported cell it changes one operator, comparison, '
           'constant, index, root or order of arguments at a time, and runs the cells of the chapter until one fails. Some changes make no '
           'difference to any result; those are listed as equivalent, each with its reason, and not counted. Where not all were tried, those that were '
           'are drawn at random, or lie in the functions named.', '',
           '| chapter | mistakes made | tried | caught | equivalent | share caught |', '| --- | ---: | ---: | ---: | ---: | ---: |']
    for c, m in sorted(judged.items()):
        same = sum(listed.get(c.partition(':')[0], {}).get(n, '').startswith('equivalent') for n in m['survived'])
        caught, real = m['mutants'] - len(m['survived']), m['mutants'] - same
        out.append(f"| {c} | {m['of']} | {m['mutants']} | {caught} | {same} | {caught/real:.0%} |")
    return [*out, '']


def write():
    "The page, from the notebooks, the meanings and the last measurement."
    means, measured = (json.loads(p.read_text(encoding='utf-8')) for p in (meanings, results))
    out = ['---', 'title: Every equation, and how its check came out',
           'description: All numbered equations of the book, what they mean, where they are derived, and the error measured by the assertion that checks them.',
           '---', '', 'Under each formula stand its meaning, a link to the section that derives and checks it, and the comparison of that check that came '
           'nearest to failing, when all chapters last ran: in double precision a closed form should agree to about 1e-12; an estimate from random '
           'numbers may be off by four of its standard errors, and that limit is what is printed.', '']
    for path in chapters:
        heading, title, rows = '', path.stem, []
        for kind, source in read(path):
            if kind != 'markdown': continue
            for part in re.split(r'(^#+ [^\n]+|\$\$.*?\$\$)', source, flags=re.M | re.S):
                if part.startswith('# '): title = part[2:].strip()
                elif part.startswith('#'): heading = part.lstrip('# ').strip()
                for tag in TAG.findall(part) if part.startswith('$$') else []:
                    where = f'{path.name}#{slug(heading)}' if heading else path.name
                    rows += [part.strip(), '', f'{means[tag][0].upper()}{means[tag][1:]}. [{heading or title}]({where}); {outcome(measured.get(tag))}.', '']
        if rows: out += [f'## {path.stem[:2]} {title}', '', *rows]
    return '\n'.join(out + teeth())


def main(args):
    if args[:1] == ['--measure']:
        chosen = [p for p in chapters if not args[1:] or p.stem in args[1:]]
        if len(chosen) < len(args[1:]): sys.exit(f'no such chapter: {args[1:]}')
        with multiprocessing.get_context('spawn').Pool(2, maxtasksperchild=1) as pool: found = pool.map(measure, chosen, chunksize=1)
        again = {str(int(p.stem[:2])) for p in chosen}
        merged = {n: e for n, e in json.loads(results.read_text()).items() if n.split('.')[0] not in again} | {n: e for one in found for n, e in one.items()}
        rows = [f'{json.dumps(n)}: {json.dumps(merged[n])}' for n in sorted(merged, key=lambda n: [int(i) for i in n.split('.')])]
        results.write_text('{\n' + ',\n'.join(rows) + '\n}\n', encoding='utf-8')
    tags = {t for p in chapters for kind, s in read(p) if kind == 'markdown' for t in TAG.findall(s)}
    if mute := sorted(tags - set(json.loads(meanings.read_text(encoding='utf-8')))): sys.exit(f'.ci/equations.json does not say what these mean: {mute}')
    text = write()
    missing = sorted(tags - set(TAG.findall(text)))
    if missing: sys.exit(f'equations not found for the page: {missing}')
    if args == ['--check']: return None if page.read_text(encoding='utf-8') == text else sys.exit('nbs/equations.md is stale: run python .ci/equations_page.py')
    page.write_text(text, encoding='utf-8')
    print(f'{len(tags)} equations in {page.relative_to(root)}, {sum(t in json.loads(results.read_text()) for t in tags)} with a measured error')


if __name__ == '__main__': main(sys.argv[1:])
