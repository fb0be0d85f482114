#!/usr/bin/env python3
"""Plant known mistakes into the exported code, one at a time, and see whether the chapters' own checks catch them.

mistakes/CHAPTER.json lists the mistakes of a chapter: which text of its exported cells (it must occur exactly once) becomes
which other. A chapter runs once, unchanged, on a copy of the project. Where it reaches a cell that a mistake belongs to,
a fork of the process runs on with the mistake, in the cell and in the module on disk, to the first cell that fails; then
the files are put back. If that cell fails by an assertion, the mistake is `caught`, by the equations the cell checks or in
the section it stands in; so it is by an error whose text holds the mistake's "raises", the words of the guard that is there
to refuse it. Any other error is `CRASHED`, the end of the chapter `SURVIVED`, and neither counts. The unchanged chapter is
the control: it must pass every cell that caught a mistake, and is run no further. A mistake whose text occurs nowhere any
more, or twice, is `MISPLACED`; the mistakes of all chapters are looked at for that, also where only a part is run.

usage: mutations.py              all of them, on as many chapters at once as there are cores to use
       mutations.py --part I/N   those of every N-th chapter, from the I-th on (I may exceed N: day of the year, say)
       mutations.py WORD ...     those whose name or chapter contains one of the words
"""
import contextlib, json, multiprocessing, os, re, shutil, signal, sys, tempfile, threading, time
from pathlib import Path
from equations import NOT_RUN, read

root = Path(__file__).resolve().parent.parent
LIMIT_S = 200   # of processor time, for one mistake


def code_cells(chapter):
    "The code cells of a chapter, as (what it checks, or the heading above; source)."
    cells, heading = [], ''
    for kind, source in read(root/'nbs'/f'{chapter}.ipynb'):
        if kind == 'markdown': heading = (re.findall(r'^#+ +(.+)', source, re.M) or [heading])[-1]
        elif not NOT_RUN.search(source): cells.append((next(iter(re.findall(r'^# (checks .+)', source, re.M)), f'"{heading}"'), source))
    return cells


def exported(source): return source.startswith('#| export')


WAITED = 'waited'   # for something else than the processor, as on a machine that was stopped

def in_fork(f, limit=LIMIT_S):
    "What `f()`, which must be fit for JSON, says in a fork of this process; WAITED or None if it does not come to an end."
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgrp()
        with contextlib.suppress(ImportError):            # its lock is shared with other processes, and one that
            from tqdm import tqdm; tqdm.set_lock(threading.RLock())    # was killed may hold it for ever
        signal.setitimer(signal.ITIMER_PROF, limit)   # of processor time, so that a busy machine changes no verdict;
        signal.alarm(5*limit)                         # of waiting
        try: os.write(w, json.dumps(f()).encode())
        finally: os._exit(0)
    os.close(w)
    with open(r) as answer: text = answer.read()
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError): os.killpg(pid, signal.SIGKILL)   # what it started and left running
    waited = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
    return json.loads(text) if text else WAITED if waited else None


@contextlib.contextmanager
def put_back(folder):
    "Nothing that happens to `folder` in the block lasts."
    here, before = os.getcwd(), folder.with_name('before')
    shutil.copytree(folder, before, symlinks=True)
    yield
    shutil.rmtree(folder)
    before.rename(folder)
    os.chdir(here)


def first_failure(shell, cells, start, mistake, module):
    "Run cells from `start` on with the mistake; [number of the cell that failed, whether it caught the mistake, the error], or []."
    swap = lambda text: text.replace(mistake['old'], mistake['new'])
    module.write_text(swap(module.read_text(encoding='utf-8')), encoding='utf-8')
    for i, (_, source) in enumerate(cells[start:], start):
        shell.run(swap(source) if i == start else source)
        if shell.exc is not None:
            error = f'{type(shell.exc).__name__}: {shell.exc}'.replace('\n', ' ')
            return [i, isinstance(shell.exc, AssertionError) or mistake.get('raises', '\0') in error, error[:200]]
    return []


def place(mistake, cells, code):
    "Number of the exported cell in which a mistake's text stands; None if it is not once in the cells and once in the module."
    hits = [i for i, (_, source) in enumerate(cells) if exported(source) for _ in range(source.count(mistake['old']))]
    return hits[0] if len(hits) == code.count(mistake['old']) == 1 else None


def misplaced(mistakes):
    "Those that have no place."
    found = []
    for c in sorted({m['chapter'] for m in mistakes}):
        cells, code = code_cells(c), (root/'ddpm_lit'/f'{c[3:]}.py').read_text(encoding='utf-8')
        found += [m for m in mistakes if m['chapter'] == c and place(m, cells, code) is None]
    return found


def run_chapter(chapter, mistakes):
    "Run a chapter with its mistakes, one fork for each, and print what becomes of them; the list of verdicts."
    from execnb.shell import CaptureShell
    verdicts, last, cells, began = [], -1, code_cells(chapter), time.time()
    def tell(verdict, name, how, start):
        verdicts.append(verdict)
        print(f'{verdict:<9} {chapter:<19} {name:<66} {how}  ({time.time() - start:.0f} s)', flush=True)
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)/'work'
        for name in ('ddpm_lit', 'nbs', 'results'): shutil.copytree(root/name, work/name, symlinks=True)
        (work/'tmp').mkdir()
        tempfile.tempdir = str(work/'tmp')
        os.chdir(work/'nbs')
        os.environ.update(IN_TEST='1', PYTHONPATH=str(work), TMPDIR=tempfile.tempdir)
        sys.path.insert(0, str(work))
        shell, module, planted = CaptureShell(work/'nbs'/f'{chapter}.ipynb'), work/'ddpm_lit'/f'{chapter[3:]}.py', {}
        code = module.read_text(encoding='utf-8')
        for m in mistakes:                                              # all of them have one
            planted.setdefault(place(m, cells, code), []).append(m)
        for i, (where, source) in enumerate(cells):
            if i > max([last, *planted]): break
            for m in planted.get(i, []):
                start = time.time()
                with put_back(work): failure = in_fork(lambda: first_failure(shell, cells, i, m, module))
                if failure in (None, WAITED): verdict, how = 'CRASHED', f'no end within {LIMIT_S} s, or the process died'
                elif not failure: verdict, how = 'SURVIVED', ''
                elif failure[1]: verdict, how, last = 'caught', cells[failure[0]][0], max(last, failure[0])
                else: verdict, how = 'CRASHED', f'{cells[failure[0]][0]}: {failure[2]}'
                tell(verdict, m['name'], how, start)
            shell.run(source)
            if shell.exc is not None:
                tell('CONTROL', 'no mistake: the chapter as it is fails', f'{where}: {type(shell.exc).__name__}: {shell.exc}'.replace('\n', ' ')[:300], began)
                break
        else: i += 1
        os.chdir(root)
    print(f'{"":<9} {chapter:<19} cells 1 to {i} of {len(cells)} have run unchanged  ({time.time() - began:.0f} s in all)', flush=True)
    return verdicts


def planted():
    "All mistakes of all chapters."
    return [m | {'chapter': p.stem} for p in sorted((root/'.ci/mistakes').glob('*.json')) for m in json.loads(p.read_text(encoding='utf-8'))]


def chosen(args, mistakes):
    "Chapter -> its mistakes, of those asked for."
    chapters = sorted({m['chapter'] for m in mistakes})
    if args[:1] == ['--part']:
        i, n = map(int, args[1].split('/'))
        chapters, args = chapters[i % n::n], []
    wanted = [m for m in mistakes if not args or any(a in m['name'] or a in m['chapter'] for a in args)]
    return {c: [m for m in wanted if m['chapter'] == c] for c in chapters if any(m['chapter'] == c for m in wanted)}


def main(args):
    os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1')
    import execnb.shell, matplotlib.pyplot, sympy, torch, torchvision   # once, before the forks
    torch.set_num_threads(1)
    start, mistakes = time.time(), planted()
    lost = misplaced(mistakes)
    for m in lost: print(f"MISPLACED {m['chapter']:<19} {m['name']:<66} {m['old']!r} does not occur once in the exported cells and in the module")
    work = chosen(args, [m for m in mistakes if m not in lost])
    work = dict(sorted(work.items(), key=lambda item: -len(item[1])))           # long ones first
    with multiprocessing.get_context('fork').Pool(len(os.sched_getaffinity(0)), maxtasksperchild=1) as pool:
        verdicts = sum(pool.starmap(run_chapter, work.items(), chunksize=1), [])
    caught, failed = verdicts.count('caught'), verdicts.count('CONTROL')
    print(f'{caught} of {len(verdicts) - failed} mistakes caught, {len(work) - failed} of {len(work)} controls passed, in {time.time() - start:.0f} s')
    return 0 if verdicts and caught == len(verdicts) and not lost else 1


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
