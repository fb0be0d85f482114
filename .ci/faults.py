#!/usr/bin/env python3
"""Attack the commands and the library with bad input, damaged files, full disks, signals and kills.

usage: faults.py            all cases
       faults.py WORD ...   those whose line, `CATEGORY: NAME`, contains one of the words
Each case has a folder of its own with images, runs and weights in it. Refused input must give one line that names what is
wrong, an exit code other than 0, no traceback, no end by a time limit, and a folder in which nothing has changed. Where going
on is right, the result is checked, and nothing that was there may be lost. PyTorch is imported once; most cases run in a fork
of that process, and only those on imports, pipes and encodings start a program of their own.
Prints one line per case, a table by category, the time, and `N passed, N failed` last; exits with 1 if anything failed.
"""
import configparser, contextlib, errno, hashlib, importlib, io, itertools, json, os, random, re, resource, runpy, shlex, shutil, signal, socket, struct, subprocess, sys
import tempfile, time, traceback, zipfile, zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
import checks

root = Path(__file__).resolve().parent.parent
LIMIT_S = 12    # of processor time, for one case; four times that of waiting
settings = configparser.ConfigParser(); settings.read(root/'settings.ini')
COMMANDS = dict(line.strip().split('=') for line in settings['DEFAULT']['console_scripts'].splitlines())
BAR = re.compile(r'\d+/\d+ \[|^\s*$')   # of tqdm


@dataclass
class Case:
    kind: str                 # category
    name: str
    do: object                # a command line, or a function of no arguments, run in the folder of the case
    says: str = ''            # pattern of the one line on stderr, or of what the function raises
    check: object = None      # for what is accepted: `check(result)`, an assertion if it is not right
    prepare: object = None    # called in the folder first
    inside: object = None     # called in the fork, before `do`
    real: str = ''            # start a program: shell text around `{}`, which stands for the command


@dataclass
class Result:
    code: int
    out: str
    err: str
    timed_out: bool = False
    changed: list = field(default_factory=list)


table, kind = [], ''
def refuse(do, says, prepare=None, name='', **kw): table.append(Case(kind, name or str(do), do, says, None, prepare, **kw))
def accept(do, check, prepare=None, name='', **kw): table.append(Case(kind, name or str(do), do, kw.pop('says', ''), check, prepare, **kw))


# ---- running one case ----

def snapshot(folder):
    "What lies in a folder: path -> kind or digest of the content."
    found = {}
    for here, dirs, names in os.walk(folder):
        for n in dirs + names:
            p = Path(here)/n
            found[str(p.relative_to(folder))] = ('link ' + os.readlink(p) if p.is_symlink() else 'folder' if p.is_dir() else
                hashlib.blake2b(p.read_bytes()).hexdigest() if p.is_file() else 'special')
    return found


def write_scripts(folder):
    "The console scripts, as pip writes them."
    for name, where in COMMANDS.items():
        module, f = where.split(':')
        (folder/name).write_text(f"import sys\nfrom {module} import {f}\nif __name__ == '__main__': sys.exit({f}())\n")
        SCRIPTS[name] = str(folder/name)


SCRIPTS = {}   # name of a command -> its script

def call(line):
    "Run a command in this process."
    sys.argv = shlex.split(line)
    runpy.run_path(SCRIPTS[sys.argv[0]], run_name='__main__')


def as_program(f, out, err):
    "Run f as the interpreter runs a program, with stdout and stderr in these files; never returns."
    code = 1
    try:
        for n, (name, path) in enumerate(dict(stdout=out, stderr=err).items(), 1):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), n)
            setattr(sys, name, open(n, 'w', -1 if n == 1 else 1, 'utf-8', 'strict' if n == 1 else 'backslashreplace', closefd=False))
        try: f(); code = 0
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 0 if e.code is None else 1
            if isinstance(e.code, str): print(e.code, file=sys.stderr)
        except BaseException: traceback.print_exc()
        try: sys.stdout and sys.stdout.flush()
        except OSError as e: print(f'Exception ignored in the end: {e}', file=sys.stderr); code = 120
    finally: os._exit(code)


def start(f, out, err):
    "The process id of a fork that runs f as a program of its own."
    sys.stdout.flush(); sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.setpgrp()
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        as_program(f, out, err)
    return pid


def wait(pid):
    "(exit code, negative for a signal; whether it took too long)."
    begin, pause = time.time(), .001
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        late = not done and time.time() - begin > 4*LIMIT_S
        if late: os.killpg(pid, signal.SIGKILL); done, status = os.waitpid(pid, 0)
        if done:
            with contextlib.suppress(ProcessLookupError, PermissionError): os.killpg(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(status)
            return code, late or code in (-signal.SIGXCPU, -signal.SIGKILL) and not KILLED
        time.sleep(pause); pause = min(pause*1.3, .05)


KILLED = []   # non-empty while a case kills its own processes


def run(do, inside=None, real=''):
    "The Result of a command line or a function, in the folder where we are."
    out, err = Path('../out').resolve(), Path('../err').resolve()
    for p in (out, err): p.write_bytes(b'')
    if real:
        name, *rest = shlex.split(do)
        if inside: Path('../spy').mkdir(); Path('../spy/sitecustomize.py').write_text(inside)
        line = real.format(shlex.join([sys.executable, SCRIPTS[name], *rest]))
        with open(out, 'wb') as o, open(err, 'wb') as e:
            p = subprocess.Popen(['bash', '-c', f'set -o pipefail; {line}'], stdout=o, stderr=e, start_new_session=True,
                                 env=os.environ | dict(PYTHONPATH=f"{Path('../spy').resolve()}:{root}"))
            try: code, late = p.wait(4*LIMIT_S), False
            except subprocess.TimeoutExpired: os.killpg(p.pid, signal.SIGKILL); code, late = p.wait(), True
    else:
        def inner():
            if inside: inside()
            call(do) if isinstance(do, str) else do()
        code, late = wait(start(inner, out, err))
    return Result(code, *(p.read_text('utf-8', 'replace') for p in (out, err)), late)


def lines(err):
    "The lines of stderr, without progress bars, and with a usage message as its last line."
    found = [l.strip() for l in re.split(r'[\r\n]+', err) if not BAR.search(l)]
    return found[-1:] if found and found[0].startswith('usage: ') and ': error: ' in found[-1] else found


def verdict(case, r):
    "What is wrong with a result; '' if nothing."
    said = lines(r.err)
    if r.timed_out: return f'no end: killed'
    if 'Traceback' in r.err + r.out and callable(case.do) is False: return 'a traceback'
    left = [p for p in r.changed if re.search(r'(^|/)\.[^/]*\.ddpm_lit$', p)]
    if [p for p in left if os.path.lexists(p)] and not KILLED: return f'left behind: {left}'
    if case.check:
        if r.code: return f'exit code {r.code}'
        if not case.says and said and isinstance(case.do, str): return 'a message'
        if case.says and not re.search(case.says, r.err + r.out, re.S): return f'does not say {case.says!r}'
        try: case.check(r)
        except Exception as e: return f'{type(e).__name__}: {e}'.strip() + traceback.format_exc()[-400:]
        return ''
    if r.code == 0: return 'accepted'
    if r.code < 0 and (r.code, case.says) != (-signal.SIGINT, 'interrupted'): return f'ended by signal {-r.code}'
    if len(said) != 1: return f'{len(said)} lines on stderr'
    if not re.search(case.says, said[0], re.I): return f'does not say {case.says!r}'
    if isinstance(case.do, str) and not said[0].startswith(f'{shlex.split(case.do)[0]}: '): return 'does not name the command'
    if len(said[0]) > 700: return f'a line of {len(said[0])} characters'
    changed = [p for p in r.changed if not p.endswith('.lock')]
    return f'changed: {changed[:5]}' if changed else ''


def attack(case, fixtures):
    "Run a case in a new folder; (Result, what is wrong)."
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)/'work'
        shutil.copytree(fixtures, work)
        os.chdir(work)
        try:
            if case.prepare: case.prepare()
            before = snapshot(work)
            r = run(case.do, case.inside, case.real)
            after = snapshot(work)
            r.changed = sorted(p for p in before | after if before.get(p) != after.get(p))
            if case.check:
                lost = [p for p in r.changed if p in before and not p.startswith(('run', 'classy', 'fresh'))]
                if lost: return r, f'lost or changed: {lost}'
            return r, verdict(case, r)
        finally: os.chdir(here)


# ---- what is there to be attacked ----

def picture(path, seed=0, size=8, mode='L', **kw):
    "Write an image of noise."
    import numpy as np
    from PIL import Image
    x = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(x).convert(mode).save(path, **kw)


def a_run(folder, steps=4, data='images', classes=None, **kw):
    "Make a small run, and train it unless `steps` is 0."
    from ddpm_lit.runs import new_run, open_run
    from ddpm_lit.training import TrainConfig
    from ddpm_lit.unet import UNetConfig
    unet = UNetConfig(image_size=8, channels=32, mults=(1,), attn=(), groups=8, num_classes=classes)
    new_run(folder, TrainConfig(data, unet, T=20, steps=steps or 4, batch_size=4, warmup=2, log_every=1, sample_every=1000, checkpoint_every=2, **kw))
    if steps:
        (trainer := open_run(folder)).fit(progress=False)
        trainer.pictures()


def make_fixtures():
    "Images, runs and weights files, in the folder where we are."
    from ddpm_lit.runs import save_pretrained
    from ddpm_lit.evaluation import Classifier, save_classifier
    for k in range(16): picture(f'images/{"ab"[k % 2]}/{k:02}.png', k)
    a_run('run'); a_run('classy', 2, classes=2); a_run('fresh', 0)
    save_pretrained('run', 'weights.safetensors')
    save_classifier(Classifier(('a', 'b'), 3), 'classifier.safetensors')
    Path('notes.txt').write_text('of great value\n')


# ---- damage ----

NEWEST, OLDER = 'run/checkpoints/0000004', 'run/checkpoints/0000002'

def damage(how, *paths):
    "A function that damages files, one way for all."
    def act():
        for p in map(Path, paths):
            data = p.read_bytes() if p.is_file() else b''
            if how == 'removed': p.unlink()
            elif how == 'a folder': p.unlink(); p.mkdir()
            elif how == 'a link to itself': p.unlink(); p.symlink_to(p.name)
            else: p.write_bytes({'cut': data[:len(data)//2], 'empty': b'', 'zeroed': bytes(len(data)), 'junk': random.Random(0).randbytes(len(data)),
                'longer': data + b'x'*100, 'huge header': struct.pack('<Q', 2**60) + data[8:], 'text': b'hello\n', 'one bit': data[:20] + bytes([data[20] ^ 255]) + data[21:]}[how])
    return act


def alone(then=None):
    "Only the newest checkpoint is there; and then what `then` does."
    def act(): shutil.rmtree(OLDER); then and then()
    return act


def edit_state(f):
    "The only checkpoint's `state.pt`, changed by `f(state)`, or replaced by what it returns."
    def act():
        import torch
        state = torch.load(f'{NEWEST}/state.pt', weights_only=True)
        new = f(state)
        torch.save(state if new is None else new, f'{NEWEST}/state.pt')
    return alone(act)


def edit_weights(path, f, metadata=None):
    "A weights file changed by `f(weights)`, its metadata by those given."
    def act():
        from safetensors.torch import save_file
        from ddpm_lit.runs import read_weights
        weights, about = read_weights(path)
        f(weights)
        about = {k: v for k, v in (about | (metadata or {})).items() if v is not None}
        save_file({k: v.contiguous() for k, v in weights.items()}, path, about or None)
    return act


def edit_config(key, value, path='run/config.json'):
    "A setting in `config.json`; `model.blocks` is one of the network."
    def act():
        d = json.loads(Path(path).read_text()) if path.endswith('json') else None
        d = d or json.loads(about_of(path)['config'])
        *into, last = key.split('.')
        place = d[into[0]] if into else d
        if value is ...: del place[last]
        else: place[last] = value
        if path.endswith('json'): Path(path).write_text(json.dumps(d))
        else: edit_weights(path, lambda w: None, dict(config=json.dumps(d)))()
    return act


def about_of(path):
    from ddpm_lit.runs import read_weights
    return read_weights(path)[1]


def content(path, data): return lambda: (Path(path).parent.mkdir(parents=True, exist_ok=True), Path(path).write_bytes(data))
def both(*fs): return lambda: [f() for f in fs]


class Evil:
    "Unpickling this leaves a mark."
    def __reduce__(self): return (os.system, ('touch PWNED',))


def chunk(name, data, crc=0): return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data) ^ crc)

def png(w, h, bits=8, colour=0, rows=b'', crc=0):
    "A PNG, byte by byte."
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, bits, colour, 0, 0, 0), crc) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def npy(header, data=b''): return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + data


# ---- what must hold afterwards ----

def weights_of(folder):
    "Digest of the newest weights of a run."
    last = max(p for p in Path(folder, 'checkpoints').iterdir() if p.name.isdecimal())
    return int(last.name), hashlib.sha256((last/'ema.safetensors').read_bytes()).hexdigest()


def steps_in(folder): return [json.loads(l)['step'] for l in Path(folder, 'metrics.jsonl').read_text().splitlines()]


def trained(steps=6, run='run'):
    "A run got as far as this, its log has each step once, and its pictures are there."
    def check(r):
        assert weights_of(run)[0] == steps, weights_of(run)
        assert steps_in(run) == list(range(1, steps + 1)), steps_in(run)
        assert Path(run, 'samples.png').stat().st_size and 'nan' not in Path(run, 'metrics.jsonl').read_text().lower()
    return check


def drawn(folder, n):
    "A folder holds n images and all else that a command writes there."
    def check(r):
        from ddpm_lit.runs import read_weights
        assert len(read_weights(Path(folder)/'images.safetensors')[0]['images']) == n
        assert {'samples.png', 'chain.gif', 'images.safetensors', 'settings.json'} == {p.name for p in Path(folder).iterdir()}
    return check


def evaluated(folder, **want):
    "A folder holds an evaluation that says this."
    def check(r):
        d = json.loads((Path(folder)/'evaluation.json').read_text())
        assert d | want == d, {k: d.get(k) for k in want}
        assert (Path(folder)/'report.png').stat().st_size
    return check


def exists(*paths): return lambda r: [p for p in paths if not Path(p).exists()] == [] or (_ for _ in ()).throw(AssertionError(f'{paths} not all there'))
def fine(r): pass


# ---- the cases ----

def options(base, text, prepare=None):
    "Cases of one command: each line of `text` is `OPTIONS | what the message must say`."
    for line in text.strip().splitlines():
        asked, says = line.strip().rsplit(' | ', 1)
        refuse(f'{base} {asked}'.strip(), says, prepare)


def training():
    options('ddpm_lit_train --data images', '''
        --size 0 | size must be 1 … 1024 pixels, got 0
        --size -8 | size must be .* got -8
        --size 100000 | size must be .* got 100000
        --size 1000000000000000000000000000000 | size must be
        --size 8.5 | size: invalid int value: '8.5'
        --size "" | size: invalid int value
        --size 7 | image_size=7: must be divisible by 4
        --model "" | model is empty
        --model huge | model must be one of tiny, small, base, got 'huge'
        --steps 0 | steps must be an int of at least 1, got 0
        --steps -1 | steps .* got -1
        --steps x | steps: invalid int value: 'x'
        --batch_size 0 | batch_size .* got 0
        --batch_size 17 | batch_size must be at most 16, the number of images, got 17
        --batch_size 1000000000000000000000 | batch_size must be at most 16
        --batch_size 4 --accumulate 3 | accumulate must divide batch_size = 4, got 3
        --accumulate 0 | accumulate .* got 0
        --lr 0 | lr must be greater than 0 and finite, got 0
        --lr -1 | lr must be .* got -1
        --lr nan | lr must be .* got nan
        --lr inf | lr must be .* finite, got inf
        --lr x | lr: invalid float value: 'x'
        --warmup 0 | warmup .* got 0
        --clip 0 | clip .* got 0
        --clip nan | clip .* got nan
        --ema 1 | ema must lie in \\[0, 1\\), got 1
        --ema -.1 | ema .* got -0.1
        --ema nan | ema .* got nan
        --gamma 0 | gamma .* got 0
        --gamma -1 | gamma .* got -1
        --gamma nan | gamma .* got nan
        --schedule "" | schedule is empty
        --schedule quadratic | schedule must be one of .* got 'quadratic'
        --prediction "" | prediction is empty
        --prediction noise | prediction must be one of .* got 'noise'
        --dtype float64 | dtype must be one of .* got 'float64'
        --layout nchw | layout must be one of .* got 'nchw'
        --seed -1 | seed must .* got -1
        --seed 18446744073709551616 | seed must .* got 18446744073709551616
        --checkpoint_every 0 | checkpoint_every .* got 0
        --crop_from 16 | crop_from must be an int in 17 … 2048, got 16
        --crop_from 1000000 | crop_from .* got 1000000
        --device "" | device is empty
        --device tpu | device must be .* got 'tpu'
        --device meta | device must be .* got 'meta'
        --device cuda:99 | device = 'cuda:99': PyTorch sees
        --device mps | device = 'mps': PyTorch sees no MPS
        --out "" | out is empty
        --batch_size 4 --out run | run exists already
        --batch_size 4 --out images | images exists already
        --batch_size 4 --out notes.txt | notes.txt exists already
        --batch_size 4 --steps 2 --out notes.txt/deep | notes.txt
        --batch_size 4 --steps 2 --out /proc/deep | /proc/deep
        --batch_size 4 --steps 2 --out /dev/null | /dev/null exists already
        --resume "" | resume is empty
        --nonsense 3 | unrecognized arguments: --nonsense
        surplus | unrecognized arguments: surplus
        --st 2 --s 3 | ambiguous option''')
    refuse(f'ddpm_lit_train --data images --batch_size 4 --steps 2 --out {"x"*300}', 'File name too long|x{300}', name='--out of 300 letters')
    options('ddpm_lit_train --batch_size 4', '''
        --data "" | data is empty
        --data nowhere | name='nowhere' is neither a folder nor one of fashion-12k
        --data notes.txt | 'notes.txt' is neither a folder
        --data run | run/chain.gif is not an image file''')
    options('ddpm_lit_train', '''
        --resume nowhere | nowhere is no run of ddpm_lit_train: it has no config.json
        --resume images | images is no run
        --resume notes.txt | notes.txt is no run
        --resume weights.safetensors | weights.safetensors is no run
        --resume run --lr 1 | resume continues run .* not lr
        --resume run --out other | resume .* not out
        --resume run --learn_variance | omit learn_variance
        --resume run --seed 0 | not seed
        --resume run --classes | not classes
        --resume run --steps 3 | steps must be at least 4, the steps done, got 3
        --resume run --steps 0 | steps .* got 0
        --resume run --data nowhere | nowhere
        --resume run --data "" | data is empty
        --resume run --device gpu | device must be .* got 'gpu' ''')
    refuse('ddpm_lit_train --data images --batch_size 4 --out dangling', 'dangling', lambda: os.symlink('nothing', 'dangling'))
    refuse('ddpm_lit_train --data images --batch_size 4 --out round', 'round', lambda: os.symlink('round', 'round'))
    refuse('ddpm_lit_train --resume round', 'round is no run', lambda: os.symlink('round', 'round'))
    new = 'ddpm_lit_train --data images --size 8 --batch_size 4 --steps 9 --checkpoint_every 9'
    accept('ddpm_lit_train --resume run --steps 6', trained(), says='steps 4 → 6')
    accept('ddpm_lit_train --resume link --steps 6', trained(), lambda: os.symlink('run', 'link'), says='steps 4 → 6')
    accept('ddpm_lit_train --resume run', trained(4), name='--resume of a run that has ended')
    refuse(f'{new} --lr 1e30 --warmup 1 --out far', 'diverged', name='a run that diverges before its first checkpoint leaves no folder')


def runs():
    resume, sample = 'ddpm_lit_train --resume run --steps 6', 'ddpm_lit_sample run --n 4 --steps 2 --out new'
    evaluate, export = 'ddpm_lit_evaluate run --n 4 --steps 2 --bits 2 --out new', 'ddpm_lit_export run new'
    # damaged files: the checkpoint before is taken; without one, the file is named
    for f, hows in {'state.pt': ('cut', 'empty', 'zeroed', 'junk', 'removed', 'a folder', 'a link to itself'), 'model.safetensors': ('cut', 'junk', 'huge header'), 'ema.safetensors': ('empty', 'zeroed')}.items():
        for how in hows:
            accept(resume, trained(), damage(how, f'{NEWEST}/{f}'), f'{f} {how}: resume', says=f'{f}.*going back to {OLDER}')
            refuse(resume, f, alone(damage(how, f'{NEWEST}/{f}')), f'{f} {how}, no other: resume')
    for how in ('cut', 'empty', 'zeroed', 'junk', 'removed', 'a folder', 'huge header', 'longer', 'one bit'):
        f = f'{NEWEST}/ema.safetensors'
        accept(sample, drawn('new', 4), damage(how, f), f'ema {how}: sample', says=f'{f}.*going back to {OLDER}')
        refuse(sample, f, alone(damage(how, f)), f'ema {how}, no other: sample')
    accept(evaluate, evaluated('new', step=2), damage('cut', f'{NEWEST}/ema.safetensors'), 'ema cut: evaluate', says=f'going back to {OLDER}')
    refuse(evaluate, 'ema.safetensors', alone(damage('cut', f'{NEWEST}/ema.safetensors')), 'ema cut, no other: evaluate')
    refuse(export, 'ema.safetensors', alone(damage('cut', f'{NEWEST}/ema.safetensors')), 'ema cut, no other: export')
    accept(resume, trained(), both(damage('removed', f'{NEWEST}/state.pt'), lambda: Path(f'{NEWEST}.damaged').mkdir()), 'damaged for the second time: resume', says='going back')
    # state.pt with other content
    import torch
    def opt(s, k=0): return s['optimizer'][k]
    for name, f in {'without step': lambda s: s.__delitem__('step'), 'without loader': lambda s: s.__delitem__('loader'), 'without rng': lambda s: s.__delitem__('rng'),
                    'with one key more': lambda s: s.update(more=1), 'that is a list': lambda s: [s], 'that is a number': lambda s: 5, 'that is empty': lambda s: {},
                    'of another step': lambda s: s.update(step=3), 'with step as text': lambda s: s.update(step='4'), 'with step true': lambda s: s.update(step=True),
                    'with a negative position': lambda s: s['loader'].update(position=-4), 'with another position': lambda s: s['loader'].update(position=4),
                    'with position as text': lambda s: s['loader'].update(position='16'),                     'with a loader of nothing': lambda s: s.update(loader={}), 'with three moments': lambda s: opt(s).update(exp_avg=torch.zeros(3)),
                    'with moments of twice the length': lambda s: opt(s).update(exp_avg_sq=opt(s)['exp_avg_sq'].repeat(2, *[1]*(opt(s)['exp_avg_sq'].ndim - 1))),
                    'with int64 moments': lambda s: opt(s).update(exp_avg=opt(s)['exp_avg'].long()), 'with float16 moments': lambda s: opt(s).update(exp_avg=opt(s)['exp_avg'].half()),
                    'with moments on meta': lambda s: opt(s).update(exp_avg=opt(s)['exp_avg'].to('meta')), 'with sparse moments': lambda s: opt(s).update(exp_avg=opt(s)['exp_avg'].to_sparse()),
                    'without moments': lambda s: s['optimizer'].clear(), 'without one moment': lambda s: s['optimizer'].__delitem__(3), 'with moments of one more': lambda s: s['optimizer'].update({999: opt(s)}),
                    'with moments in a list': lambda s: s.update(optimizer=list(s['optimizer'].values())), 'with a step that is no number': lambda s: opt(s).update(step='x'),
                    'with a random state of 3': lambda s: s.update(rng=[dict(cpu=torch.zeros(3, dtype=torch.uint8))]), 'with a random state of text': lambda s: s.update(rng=[dict(cpu='x')]),
                    'with random states as text': lambda s: s.update(rng='x'), 'with sums of 3': lambda s: s.update(sums=torch.zeros(3)), 'with ema_n as text': lambda s: s.update(ema_n='4'),
                    'with ema_n negative': lambda s: s.update(ema_n=-9), 'with since negative': lambda s: s.update(since=-1), 'with a scaler of text': lambda s: s.update(scaler='x'),
                    'with the seed as text': lambda s: s['loader'].update(seed='x')}.items():
        refuse(resume, f'{NEWEST}/state.pt', edit_state(f), f'state.pt {name}')
    refuse(resume, 'state.pt', alone(lambda: torch.save(Evil(), f'{NEWEST}/state.pt')), 'state.pt that runs a program')
    refuse(resume, 'state.pt', alone(lambda: __import__('pickle').dump(Evil(), open(f'{NEWEST}/state.pt', 'wb'))), 'state.pt that is a pickle and runs a program')
    refuse(resume, f'{NEWEST}/state.pt', edit_state(lambda s: opt(s).update(exp_avg=opt(s)['exp_avg']*float('nan'))), 'state.pt with moments that are no numbers')
    refuse(resume, 'loader of 17 images, this one has 16', edit_state(lambda s: s['loader'].update(n=17)), 'state.pt of another number of images')
    accept(resume, trained(), edit_state(lambda s: opt(s).update(exp_avg_sq=torch.zeros(1).expand(opt(s)['exp_avg'].shape))), 'state.pt with moments that share their memory', says='steps 4 → 6')
    # weights with other content
    for name, f, about in (('of another step', lambda w: None, dict(step='3')), ('with a step as text', lambda w: None, dict(step='x')), ('without a step', lambda w: None, dict(step=None)),
                           ('without a tensor', lambda w: w.__delitem__('conv_in.bias'), None), ('with one more tensor', lambda w: w.update(x=torch.zeros(1)), None),
                           ('with another shape', lambda w: w.update({'conv_in.bias': torch.zeros(33)}), None), ('of int64', lambda w: w.update({'conv_in.bias': torch.zeros(32).long()}), None),
                           ('of complex numbers', lambda w: w.update({'conv_in.bias': torch.zeros(32) + 0j}), None),
                           ('that are no numbers', lambda w: w.update({'conv_in.bias': torch.full((32,), float('nan'))}), None), ('of nothing', lambda w: w.clear(), None)):
        refuse(sample, f'{NEWEST}/ema.safetensors', alone(edit_weights(f'{NEWEST}/ema.safetensors', f, about)), f'ema.safetensors {name}: sample')
        refuse(resume, f'{NEWEST}/model.safetensors', alone(edit_weights(f'{NEWEST}/model.safetensors', f, about)), f'model.safetensors {name}: resume')
    accept(sample, drawn('new', 4), alone(edit_weights(f'{NEWEST}/ema.safetensors', lambda w: w.update({k: v.half() for k, v in w.items()}))), 'ema.safetensors in float16: sample')
    # checkpoints
    accept(resume, trained(), lambda: (Path('run/checkpoints/0000099').mkdir(), Path('run/checkpoints/old').mkdir(), Path('run/checkpoints/x').touch()), 'an empty checkpoint, and other names', says='0000099.*going back')
    accept(sample, drawn('new', 4), lambda: shutil.copytree(NEWEST, 'run/checkpoints/0000009'), 'a copied checkpoint: sample', says='step 4, expected 9.*going back')
    accept(sample, drawn('new', 4), lambda: Path('run/checkpoints/0000009').touch(), 'a file as newest checkpoint: sample', says='going back')
    accept(sample, drawn('new', 4), lambda: Path('run/checkpoints/' + '9'*30).mkdir(), 'a checkpoint of 30 digits: sample', says='going back')
    refuse(sample, 'run has no checkpoint yet', lambda: shutil.rmtree('run/checkpoints'), 'no checkpoints: sample')
    refuse('ddpm_lit_evaluate run --out new', 'run has no checkpoint yet', lambda: shutil.rmtree('run/checkpoints'), 'no checkpoints: evaluate')
    refuse(sample, 'run has no checkpoint yet', lambda: (shutil.rmtree('run/checkpoints'), Path('run/checkpoints').touch()), 'checkpoints is a file: sample')
    refuse(sample, 'run has no checkpoint yet|round', lambda: (shutil.rmtree('run/checkpoints'), os.symlink('checkpoints', 'run/checkpoints')), 'checkpoints is a link to itself: sample')
    def no_place(r): assert r.code == 1 and len(lines(r.err)) == 1 and 'checkpoints' in r.err, r
    accept(expect(resume, no_place), fine, lambda: (shutil.rmtree('run/checkpoints'), Path('run/checkpoints').touch()), 'checkpoints is a file: resume')
    accept(resume, trained(), lambda: shutil.rmtree('run/checkpoints'), 'no checkpoints: resume from step 0', says='steps 4 → 6')
    accept(f'ddpm_lit_sample {OLDER} --n 4 --steps 2 --out new', drawn('new', 4), name='a checkpoint: sample')
    accept(f'ddpm_lit_evaluate {OLDER} --n 4 --steps 2 --bits 0 --out new', evaluated('new', step=2), name='a checkpoint: evaluate')
    # config.json
    for how in ('cut', 'empty', 'zeroed', 'junk', 'text'): refuse(resume, 'run/config.json: the settings cannot be read', damage(how, 'run/config.json'), f'config.json {how}: resume')
    for how in ('removed', 'a folder', 'a link to itself'): refuse(resume, 'run is no run of ddpm_lit_train', damage(how, 'run/config.json'), f'config.json {how}: resume')
    for text in (b'[]', b'5', b'null', b'"x"', b'\xff\xfe{\x00}\x00', b'{"data": "\xff"}', b'['*100_000, b'{"model": {}, "data": ' + b'1'*5000 + b'}', b'{"model": []}', b'{"model": {"attn": 5}}', b'{}{}'):
        refuse(resume, 'run/config.json', content('run/config.json', text), f'config.json is {text[:24]!r}: resume')
    for key, *values in (('model.blocks', 10**9, 0, -1, 1.5, True, 'x', None), ('model.channels', 33, 32*10**6, 0, 32., '32'), ('model.mults', [], [1.5], 'x', [10**9], [1]*100, 5, [True]), ('model.attn', [3], 'x', 5, None),
                         ('model.image_size', 0, 10**9, 8., -8, '8', None), ('model.heads', 3, 0, 1., None), ('model.groups', 5, 0, 8.), ('model.dropout', 1, float('nan'), 'x', None), ('model.num_classes', 0, 10**12, 2., 'x', True),
                         ('model.in_channels', 0, 10**12, 1.), ('model.out_channels', 0, 10**12, 1.), ('model.colour', 1), ('model', ..., [], None, 'tiny'),
                         ('steps', True, 0, 'x', 1e9, None), ('T', 1, 10**12, 'x', True, None, 20.), ('batch_size', 0, 10**9, 3.5, 17), ('accumulate', 3, True), ('lr', 'x', float('nan'), float('inf'), None, True, [1]), ('clip', 'x', None),
                         ('gamma', 'x', -1), ('weight_decay', -1, float('nan'), 'x', None), ('ema', 1, 'x', None), ('no_class', 2, 'x', None), ('warmup', 0, .5), ('seed', -1, 2**64, 'x', None, True), ('flip', 'yes', None),
                         ('crop_from', 4, 8, 10**9, 'x', True), ('prediction', 'w', None, 1, []), ('schedule', 'x', None, {}), ('dtype', 'int8', None), ('layout', 'x', None),
                         ('data', '', 5, None, ['images']), ('checkpoint_every', 0, 'x'), ('log_every', 0), ('sample_every', 0), ('colour', 1)):
        for v in values:
            shown = 'missing' if v is ... else repr(v) if len(repr(v)) < 30 else f'{repr(v)[:20]} …'
            refuse('ddpm_lit_train --resume run', key.split('.')[-1] + '|run/config.json', edit_config(key, v), f'config.json with {key} = {shown}: resume')
    for key, v in (('model.blocks', 10**9), ('model.blocks', 2), ('model.num_classes', 3), ('model.channels', 64), ('model.out_channels', 2), ('model.out_channels', 5), ('T', True), ('T', 10**12), ('prediction', 'w')):
        for line in (sample, evaluate, export): refuse(line, 'config.json', edit_config(key, v), f'config.json with {key} = {v}: {line.split()[0][9:]}')
    accept(resume, trained(), edit_config('prediction', 'eps'), 'config.json with another prediction: resume says so', says='Changed since the last start: .*settings')
    accept('ddpm_lit_train --resume run --steps 6', trained(), edit_config('lr', 1e-4), 'config.json with another lr: resume says so', says='Changed since the last start: .*settings')
    # what lies beside
    for text in (b'\xff\x00junk\n', b'{"loss": 1}\n[]\n5\nnull\n{"step": "x"}\n', b'{"step": 1, "lo', b'', b'{"step": 3}\n'):
        accept('ddpm_lit_train --resume run --steps 6', lambda r: (weights_of('run')[0] == 6 and steps_in('run') == sorted(set(steps_in('run')))) or 1/0, content('run/metrics.jsonl', text), f'metrics.jsonl is {text[:20]!r}: resume', says='steps 4 → 6')
    accept(resume, trained(), lambda: open('run/metrics.jsonl', 'a').write('{"step": 5, "loss": 1}\n{"step": 6, "loss": 1}\n'), 'metrics.jsonl is ahead of the checkpoint: resume', says='steps 4 → 6')
    accept(resume, trained(), lambda: (shutil.rmtree('run/checkpoints')), 'metrics.jsonl without a checkpoint: resume', says='steps 4 → 6')
    refuse(resume, 'metrics.jsonl', damage('a folder', 'run/metrics.jsonl'), 'metrics.jsonl is a folder: resume')
    for text in (b'', b'[5]', b'{}', b'\xff', b'[{"step": 1}]', b'['*100_000): accept(resume, trained(), content('run/environment.json', text), f'environment.json is {text[:20]!r}: resume', says='')
    accept(resume, trained(), both(content('precious', b'x'), lambda: os.symlink('../precious', 'run/.config.json.0.ddpm_lit'), lambda: os.symlink('../notes.txt', 'run/.state.1.ddpm_lit')), 'planted links under the names of temporary files', says='steps 4 → 6')
    refuse(resume, 'loader of 16 images, this one has 17|images', lambda: picture('images/a/new.png', 99), 'one image more: resume')
    accept(resume, trained(), lambda: [picture(p, 50 + k) for k, p in enumerate(Path('images').rglob('*.png'))], 'all images changed: resume says so', says='Changed since the last start: .*images')
    refuse('ddpm_lit_train --resume classy --steps 4', "data = 'images' has 1 channels and 3 classes", lambda: (Path('images/c').mkdir(), os.rename('images/a/00.png', 'images/c/00.png')), 'a third class: resume')
    refuse(resume, "data = 'images' has 3 channels", lambda: picture('images/a/00.png', 0, mode='RGB'), 'a colour image: resume')
    refuse(resume, 'images', lambda: shutil.rmtree('images'), 'no images: resume')
    accept('ddpm_lit_train --resume run --steps 6 --data moved', trained(), lambda: os.rename('images', 'moved'), 'images that have moved: resume', says='steps 4 → 6')
    # locks
    def holding(f):
        import fcntl
        def act():
            fd = os.open('run/.lock', os.O_CREAT | os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX); f()
        return act
    refuse(resume, 'another process is training run', holding(lambda: None), 'two resumes of one run')
    accept(sample, drawn('new', 4), holding(lambda: None), 'sample beside a training')
    accept('ddpm_lit_evaluate run --n 4 --steps 2 --bits 0 --out new', evaluated('new', step=4), holding(lambda: None), 'evaluate beside a training')


def weights():
    lines = [f'ddpm_lit_sample {{}} --n 4 --steps 2 --out new', 'ddpm_lit_evaluate {} --n 4 --steps 2 --bits 2 --data images --out new', 'ddpm_lit_export {} new']
    w = 'weights.safetensors'
    for line in lines:
        c = line.split()[0][9:]
        for how in ('cut', 'empty', 'zeroed', 'junk', 'huge header', 'text', 'a folder', 'a link to itself', 'removed'):
            refuse(line.format(w), 'weights', damage(how, w), f'weights {how}: {c}')
        for name, f, about in (('without settings', lambda x: None, dict(config=None)), ('with settings of junk', lambda x: None, dict(config='junk')), ('with settings of []', lambda x: None, dict(config='[]')),
                               ('with deep settings', lambda x: None, dict(config='['*100_000)), ('without a tensor', lambda x: x.__delitem__('conv_in.bias'), None), ('of int8', lambda x: x.update({k: v.char() for k, v in x.items()}), None),
                               ('that are no numbers', lambda x: x.update({k: v*float('nan') for k, v in x.items()}), None)):
            refuse(line.format(w), w, edit_weights(w, f, about), f'weights {name}: {c}')
        for key, v in (('model.blocks', 10**9), ('T', 10**12), ('model.channels', 64)): refuse(line.format(w), w, edit_config(key, v, w), f'weights with {key} = {v}: {c}')
        refuse(line.format('classifier.safetensors'), 'classifier.safetensors', name=f'a classifier for a model: {c}')
        refuse(line.format('notes.txt'), 'notes.txt', name=f'a text for a model: {c}')
        refuse(line.format('pickle.pt'), 'pickle.pt', lambda: __import__('torch').save(Evil(), 'pickle.pt'), f'a pickle for a model: {c}')
        refuse(line.format('pickle.safetensors'), 'pickle.safetensors', lambda: __import__('torch').save(Evil(), 'pickle.safetensors'), f'a pickle under the name of weights: {c}')
        refuse(line.format('pipe.safetensors'), 'pipe.safetensors', lambda: os.mkfifo('pipe.safetensors'), f'a FIFO for a model: {c}')
        refuse(line.format('""'), 'empty|required', name=f'"" for a model: {c}')
        refuse(line.format('nowhere'), 'nowhere', name=f'nothing for a model: {c}')
    for step in ('x', '9'*5000): refuse(lines[1].format(w), w, edit_weights(w, lambda x: None, dict(step=step)), f'weights of step {str(step)[:9]}: evaluate')
    accept(lines[0].format(w), drawn('new', 4), name='whole weights: sample')


def sampling():
    options('ddpm_lit_sample classy --steps 2', '''
        --n 0 | n must be an int in 1 ... 10,000,000, got 0
        --n -1 | n must .* got -1
        --n 1000000000000000000000000000000 | n must .* got 1000
        --n x | n: invalid int value: 'x'
        --n "" | n: invalid int value
        --batch 0 | batch must .* got 0
        --sampler "" | sampler (must be one of|is empty)
        --sampler euler | sampler must be one of .* got 'euler'
        --sampler ddim --var beta | var is not an option of ddim
        --sampler ancestral --eta 1 | eta is not an option of ancestral
        --sampler ancestral --var gamma | var must be .* got 'gamma'
        --eta 2 | eta must lie in 0 ... 1, got 2
        --eta nan | eta must .* got nan
        --label 2 | label must be a class in 0 ... 1.* got 2
        --label -1 | label must .* got '-1'
        --label x | label must .* got 'x'
        --label "" | label is empty
        --label 1.0 | label must .* got '1.0'
        --label ² | label must .* got '²'
        --label ٣ | label must .* got
        --seed x | seed: invalid int value: 'x'
        --seed "" | seed: invalid int value
        --device "" | device is empty
        --device gpu | device must be .* got 'gpu'
        --device cuda:7 | device = 'cuda:7'
        --out "" | out is empty
        --out run | out = 'run' exists already
        --out notes.txt | out = 'notes.txt' exists already
        --n 4 --out notes.txt/deep | notes.txt
        --n 4 --out /proc/deep | /proc
        --guidance nan --label 1 | guidance|w must be finite, got nan
        --guidance inf --label 1 | w must be finite, got inf
        --guidance 2 | guidance needs a class, so give a label
        --guidance 2 --label 1 --negative 9 | negative must be a class in 0 ... 1, got 9
        --guidance 2 --label 1 --negative -1 | negative must be a class in 0 ... 1, got -1
        --negative 1 --label 1 | negative and interval need guidance
        --interval 1-9 --label 1 | negative and interval need guidance
        --guidance 2 --label 1 --interval x | interval must be LO-HI
        --guidance 2 --label 1 --interval "" | interval
        --guidance 2 --label 1 --interval 9-1 | interval must be .* got \\(9, 1\\)
        --guidance 2 --label 1 --interval 0-21 | interval must be .* T = 20
        --colour red | unrecognized arguments''')
    options('ddpm_lit_sample run --n 4', '''
        --steps 0 | steps must lie in 1 ... T = 20, got 0
        --steps 21 | steps must .* got 21
        --steps 1000000000000000000000 | steps must
        --steps x | steps: invalid int value
        --label 1 --steps 2 | this model was trained without classes
        --label all --steps 2 | this model was trained without classes
        --label 1 --guidance 2 --steps 2 | the model was trained without classes''')
    options('ddpm_lit_sample', '''
        nowhere | nowhere
        images | images is no run of ddpm_lit_train
        run/config.json | run/config.json
        "" --n 4 | run is empty
        fashion_mnist --label 10 | label must be a class in 0 ... 9''')
    refuse('ddpm_lit_sample run --n 4 --steps 2 --out dangling', 'dangling', lambda: os.symlink('nothing', 'dangling'))
    refuse('ddpm_lit_sample run --n 4 --steps 2 --out ' + 'x'*300, 'x{300}', name='--out of 300 letters: sample')
    for line, folder, n in (('run --n 5 --steps 2', 'run/samples/ddim-2-seed0', 5), ('classy --n 3 --steps 2 --label all --batch 2 --seed -1 --out a/b/c', 'a/b/c', 3), ("run --n 1 --steps 1 --out 'ü ✓ %s'", 'ü ✓ %s', 1),
                            ('classy --n 2 --label 1 --guidance 2 --negative 0 --interval 3-9 --out new', 'new', 2)):
        accept(f'ddpm_lit_sample {line}', drawn(folder, n))
    accept('ddpm_lit_sample run --n 2 --steps 2', drawn('run/samples/ddim-2-seed0-2', 2), content('run/samples/ddim-2-seed0/mine', b'x'), 'the usual folder is there already')


def evaluation():
    base = 'ddpm_lit_evaluate {} --out new'
    options('ddpm_lit_evaluate run', '''
        --n 0 | n must be an int in 1 ... 10,000,000, got 0
        --n 3 --bits 0 | n must be at least 4, got 3
        --n 1000000000000000000000000000000 | n must
        --n x | n: invalid int value
        --steps 0 | steps must lie in 1 ... T = 20, got 0
        --sampler x | sampler must be one of
        --bits 1 | bits must be 0 \\(none\\) or at least 2, got 1
        --bits -1 | bits must .* got -1
        --seed -1 | seed must lie in 0 ... 2\\*\\*63 - 1, got -1
        --seed 18446744073709551616 | seed must
        --batch 0 | batch must
        --label 0 | this model was trained without classes
        --label "" | label is empty
        --label x | label
        --data "" | data is empty
        --data nowhere | nowhere
        --data fashion-12k --label x | label must be a class in 0 ... 9
        --features_in "" | features_in is empty
        --features_in nowhere | nowhere
        --features_in notes.txt | notes.txt
        --features_in weights.safetensors | weights.safetensors.* is no file of save_classifier
        --features_in classifier.safetensors --bits 0 --n 4 | this classifier knows a, b in 3 channels
        --device "" | device is empty
        --device x | device must be
        --out "" | out is empty
        --out run | out = 'run' exists already
        --root "" --data MNIST --n 4 | MNIST|root
        --colour 1 | unrecognized arguments''')
    options('ddpm_lit_evaluate', '''
        "" | required: run
        nowhere | 'nowhere' does not exist
        notes.txt | notes.txt is neither a run, nor a folder of images
        run/checkpoints | 0000002|checkpoints
        images --n 1900 --data images | n = 1900, but images holds 16 images
        images --data images --label 7 | label must be a class in 0 ... 1''')
    refuse(base.format('classy --label 5 --n 4 --bits 0'), 'label must be a class in 0 ... 1')
    for name, data in {'zero.npy': b'', 'huge.npy': npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 8, 8), }\n"), 'long.npy': b'\x93NUMPY\x02\x00' + struct.pack('<I', 2**31) + b'{',
                       'text.npy': b'hello', 'deep.npy': npy('('*30_000 + '\n'), 'code.npy': npy("{'descr': '|u1', 'fortran_order': False, 'shape': (__import__('os').system('touch PWNED'),), }\n"),
                       'cut.npy': npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8), }\n", bytes(100)), 'floats.npy': npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 8, 8), }\n", bytes(1024)),
                       'none.npy': npy("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 8, 8), }\n"), 'flat.npy': npy("{'descr': '|u1', 'fortran_order': False, 'shape': (64,), }\n", bytes(64)),
                       'times.npy': npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (4, 8, 8), }\n", bytes(2048)), 'big.npy': npy("{'descr': '>u2', 'fortran_order': False, 'shape': (4, 8, 8), }\n", bytes(512)),
                       'zero.npz': b'', 'text.npz': b'hello', 'zero.safetensors': b'', 'text.safetensors': b'hello', 'huge.safetensors': struct.pack('<Q', 2**62) + b'{}', 'empty.safetensors': struct.pack('<Q', 2) + b'{}',
                       'array.txt': b'hello', 'noext': b'hello'}.items():
        refuse(base.format(f'{name} --data images'), name, content(name, data), f'samples in {name}')
    def pickled():
        import numpy as np
        np.save('evil.npy', np.array([Evil()], dtype=object)); np.savez('evil.npz', images=np.array([Evil()], dtype=object))
    def zipped():
        import numpy as np
        np.savez('crc.npz', images=np.zeros((4, 8, 8), np.uint8)); b = bytearray(Path('crc.npz').read_bytes()); b[-200] ^= 255; Path('crc.npz').write_bytes(b)
        np.savez('two.npz', a=np.zeros(1), b=np.zeros(1))
        with zipfile.ZipFile('names.npz', 'w') as z: z.writestr('../../evil', b'x')
        with zipfile.ZipFile('bomb.npz', 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('images.npy', npy("{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 8, 8), }\n", bytes(10**6)))
    for name in ('evil.npy', 'evil.npz'): refuse(base.format(f'{name} --data images'), name, pickled, f'samples in {name}')
    for name in ('crc.npz', 'two.npz', 'names.npz', 'bomb.npz'): refuse(base.format(f'{name} --data images'), name, zipped, f'samples in {name}')
    refuse(base.format('pipe.npy --data images'), 'pipe.npy', lambda: os.mkfifo('pipe.npy'), 'samples in a FIFO')
    refuse(base.format('run --data split --n 4 --bits 0'), 'split/test/04.png', lambda: ([picture(f'split/{s}/{k:02}.png', k) for s in ('train', 'test') for k in range(12)], damage('cut', 'split/test/04.png')()), 'a damaged test split')
    refuse(base.format('run --data few --n 4 --bits 0'), 'few has 5 images, expected at least 12', lambda: [picture(f'few/{k}.png', k) for k in range(5)], 'five images')
    refuse(base.format('run --data colour --n 4 --bits 0'), "samples are \\[1, 8, 8\\], train images \\[3, 8, 8\\]", lambda: [picture(f'colour/{k}.png', k, mode='RGB') for k in range(16)], 'a grey model against colours')
    def foreign_inception(): import types; m = types.ModuleType('x'); m.FeatureExtractorInceptionV3 = lambda *a: 1/0; sys.modules.update({'torch_fidelity': m, 'torch_fidelity.feature_extractor_inceptionv3': m}); __import__('torch').hub.set_dir('hub')
    def planted_pickle(): from ddpm_lit.evaluation import INCEPTION; p = Path('hub/checkpoints')/INCEPTION[0].rsplit('/')[-1]; p.parent.mkdir(parents=True); __import__('torch').save(Evil(), p)
    refuse(base.format('run --features_in inception --n 4 --bits 0'), 'is not the published file', planted_pickle, 'a pickle in the place of the Inception weights', inside=foreign_inception)
    accept(base.format('run --n 4 --steps 2 --bits 2'), evaluated('new', step=4, n=4, sampler_steps=2))
    accept(base.format('images --data images'), evaluated('new', n=16))
    def behind():   # a newer checkpoint appears while the evaluation samples
        from ddpm_lit import evaluation
        old = evaluation.sample
        def new(*a, **k): shutil.copytree(NEWEST, 'run/checkpoints/0000006'); return old(*a, **k)
        evaluation.sample = new
    accept(base.format('run --n 4 --steps 2 --bits 0'), evaluated('new', step=4), name='a checkpoint appears during the evaluation', inside=behind)


def images():
    line = 'ddpm_lit_train --data d --size 8 --batch_size 1 --steps 1 --out new'
    def bad(name, data, says=None): refuse(line, says or f'd/{name}', both(content(f'd/{name}', data), lambda: picture('d/good.png')), f'{name} of {len(data)} bytes, {zlib.crc32(data):x}: {data[:8]!r}')
    def saved(form, **kw):
        from PIL import Image
        Image.new(kw.pop('mode', 'L'), (8, 8)).save(b := io.BytesIO(), form, **kw); return b.getvalue()
    eps = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(PWNED) (w) file closefile\nshowpage\n'
    def gs(): os.mkdir('bin'); Path('bin/gs').write_text('#!/bin/sh\ntouch "$(dirname "$0")/../PWNED"\n'); os.chmod('bin/gs', 0o755)
    refuse(line, 'd/zz.png', both(gs, content('d/zz.png', eps)), 'an EPS named .png starts no Ghostscript', inside=lambda: os.environ.update(PATH=os.path.abspath('bin') + ':' + os.environ['PATH']))
    for form in ('GIF', 'TIFF', 'ICO', 'PPM', 'TGA', 'PCX', 'SGI', 'PDF'): bad('zz.png', saved(form, mode='RGB' if form in ('PDF',) else 'L'))
    whole = saved('PNG'); jpeg = saved('JPEG')
    noise = png(64, 64, rows=b''.join(b'\0' + random.Random(k).randbytes(64) for k in range(64)))
    for name, data in (('zz.png', b''), ('zz.jpg', b''), ('zz.png', b'hello'), ('zz.png', whole[:30]), ('zz.png', noise[:2000]), ('zz.jpg', jpeg[:len(jpeg)//2]), ('zz.webp', b'RIFF\xff\xff\xff\xffWEBPVP8 '),
                       ('zz.bmp', b'BM' + bytes(20)), ('zz.png', png(8, 8, 16, 2, bytes(49*8))), ('zz.png', png(8, 8, 16, 0, bytes(17*8))), ('zz.png', png(8, 8, crc=1, rows=bytes(72))), ('zz.png', png(12_000, 12_000)),
                       ('zz.png', png(2**31 - 1, 2**31 - 1)), ('zz.png', png(8, 0)), ('zz.png', png(8, 8)), ('zz.png', saved('TIFF', mode='F')), ('zz.gif', b'GIF89a'), ('zz.svg', b'<svg/>'), ('noext', b'x'), ('zz.png.txt', b'x'), ('Thumbs.db', b'x')):
        bad(name, data)
    def animated(path, form):
        from PIL import Image
        frames = [Image.new('L', (8, 8), k) for k in (0, 99, 200)]
        Path(path).parent.mkdir(exist_ok=True); frames[0].save(path, form, save_all=True, append_images=frames[1:])
    refuse(line, 'd/zz.png cannot be read as an image: 3 frames', lambda: animated('d/zz.png', 'PNG'), 'an animated PNG')
    refuse(line, 'd/zz.webp', lambda: animated('d/zz.webp', 'WEBP'), 'an animated WebP')
    def bomb(): Path('d').mkdir(); Path('d/zz.png').write_bytes(png(12_000, 12_000, 1, 0, bytes(1501*12_000)))
    refuse(line, 'd/zz.png .*144?,?000?.*expected at most|d/zz.png .*12000×12000 pixels', bomb, 'a file of 18 kB with 144 Mpx')
    refuse(line, 'd/zz.png', lambda: (Path('d').mkdir(), os.mkfifo('d/zz.png')), 'a FIFO named .png')
    refuse(line, 'd/zz.png', lambda: (Path('d').mkdir(), socket.socket(socket.AF_UNIX).bind('d/zz.png')), 'a socket named .png')
    refuse(line, 'd/zz.png', lambda: (Path('d').mkdir(), os.symlink('/dev/zero', 'd/zz.png')), 'a device named .png')
    refuse(line, 'd/zz.png', lambda: (Path('d').mkdir(), os.symlink('nothing', 'd/zz.png')), 'a link to nothing named .png')
    refuse(line, 'd is empty|d/', lambda: Path('d').mkdir(), 'an empty folder')
    refuse(line, 'd/a is empty', lambda: Path('d/a').mkdir(parents=True), 'an empty class')
    refuse(line, 'd/a has sub-folders|d/a mixes', lambda: picture('d/a/b/0.png'), 'a class of classes')
    refuse(line, 'd mixes images', lambda: (picture('d/0.png'), picture('d/a/0.png')), 'images beside classes')
    refuse(line, 'd/a', lambda: (Path('d').mkdir(), os.symlink('../d', 'd/a')), 'a class that is a link to the whole')
    for names in ('Train/Test', 'train/test/valid', 'train', 'test', 'train/val', 'training/testing'):
        refuse(line, f'd has sub-folders .*expected exactly train and test', lambda names=names: [picture(f'd/{n}/0.png') for n in names.split('/')], f'sub-folders {names}')
    refuse(line, 'd/train|d/notes.txt', lambda: ([picture(f'd/{n}/0.png') for n in ('train', 'test')], Path('d/notes.txt').touch()), 'a text beside train and test')
    refuse(line, 'train and test must have the same classes', lambda: [picture(f'd/{n}/0.png') for n in ('train/a', 'train/b', 'test/a')], 'a class missing in the test split')
    def load(check, *prepare, name):
        def act():
            from ddpm_lit.data import load_images
            check(load_images('d', size=8))
        accept(act, fine, both(*prepare), name)
    def is_like(n, c): return lambda d: (d.images.shape == (n, c, 8, 8) and d.images.dtype == __import__('torch').uint8) or 1/0
    load(is_like(2, 1), lambda: (picture('d/0.png'), picture('d/1.png', 1)), lambda: Path('d/.DS_Store').touch(), name='a hidden file beside images')
    load(is_like(1, 3), lambda: picture('d/0.jpg', 0, 8, 'CMYK'), name='a CMYK JPEG')
    load(is_like(1, 3), lambda: picture('d/0.png', 0, 8, 'P'), name='a palette')
    load(is_like(1, 1), lambda: picture('d/0.png', 0, 8, '1'), name='one bit a pixel')
    load(lambda d: (d.images == 255).all() or 1/0, content('d/0.png', png(8, 8, 8, 6, bytes(33*8))), name='transparency becomes white')
    load(is_like(1, 1), lambda: picture('d/0.png', 0, 1), name='one pixel')
    load(is_like(2, 3), lambda: (picture('d/0.png', 0, 40), picture(b'd/\xff.png'.decode('utf-8', 'surrogateescape'), 0, 9, 'RGB')), name='other sizes, and a name that is no UTF-8')
    refuse('ddpm_lit_train --data "$BAD" --batch_size 1'.replace('$BAD', b'd\xff'.decode('utf-8', 'surrogateescape')), 'is empty', lambda: os.mkdir(b'd\xff'), 'a data folder whose name is no UTF-8')


def painting():
    options('ddpm_lit_paint', '''
        "a plaid sneaker" | unknown word 'plaid'
        "a red sneeker" | unknown word 'sneeker': did you mean sneaker
        "a red sneaker \0" | unknown word
        "red red red red red red red red red red red red red red red red red red red red red red red red red red" | a caption has at most
        "a red sneaker" --negative zebra | unknown word 'zebra'
        "a red sneaker" --n 0 | n .*(at least 1|1 ...)
        "a red sneaker" --n -3 | n .*(at least 1|1 ...)
        "a red sneaker" --n x | n: invalid int value: 'x'
        "a red sneaker" --n 1000000000000000000000000000000 | n must
        "a red sneaker" --guidance nan | must be finite, got nan
        "a red sneaker" --guidance inf | must be finite, got inf
        "a red sneaker" --steps 0 | steps must lie in 1 ... T = 1000, got 0
        "a red sneaker" --steps 1001 | steps must lie in 1 ... T = 1000, got 1001
        "a red sneaker" --seed x | seed: invalid int value
        "a red sneaker" --strength 0 --init images/a/00.png | strength must be above 0 and at most 1, got 0
        "a red sneaker" --strength 2 | strength .* got 2
        "a red sneaker" --strength nan | strength .* got nan
        "a red sneaker" --vary 0 | vary must be .* got 0
        "a red sneaker" --vary -1 | vary must be .* got -1
        "a red sneaker" --vary 1 --init images/a/00.png | vary and init exclude each other
        "a red sneaker" --init "" | init
        "a red sneaker" --init nowhere | nowhere
        "a red sneaker" --init notes.txt | notes.txt cannot be read as an image
        "a red sneaker" --init images | images
        "a red sneaker" --device "" | device is empty
        "a red sneaker" --device x | device must be
        "a red sneaker" --out "" | out is empty
        "a red sneaker" --out run | out = 'run' exists already
        "a red sneaker" --n 1 --steps 1 --out notes.txt/deep | notes.txt
        "a red sneaker" --colour 1 | unrecognized arguments
        a red sneaker | unrecognized arguments: red sneaker'''.replace('\\0', '#'))
    refuse('ddpm_lit_paint "a red sneaker" --init pipe.png', 'pipe.png', lambda: os.mkfifo('pipe.png'))
    accept('ddpm_lit_paint "a red sneaker" --n 1 --steps 2', drawn('paintings/a-red-sneaker', 1))
    accept('ddpm_lit_paint "" --n 2 --steps 1', drawn('paintings/no-words', 2))
    accept('ddpm_lit_paint "A red, RED sneaker!" --n 1 --steps 2 --init images/a/00.png --strength 1', drawn('paintings/A-red-RED-sneaker', 1))


def exporting():
    options('ddpm_lit_export', '''
        nowhere new | nowhere
        "" new | required: folder
        run "" | folder.* empty
        run run | 'run' exists
        run notes.txt | notes.txt
        run notes.txt/deep | notes.txt
        run /proc/deep | /proc
        run | required: folder
        run new more | unrecognized arguments: more
        images new | images is no run
        run new --label 0 | label = 0: the model knows no classes
        classy new --label 2 | label = 2: the model knows 2 classes
        classy new --label -1 | label = -1: the model knows 2 classes
        classy new --label x | label: invalid int value: 'x' ''')
    accept('ddpm_lit_export classy new --label 1', exists('new/model_index.json', 'new/unet/config.json', 'new/scheduler/scheduler_config.json', 'new/unet/diffusion_pytorch_model.safetensors'))


def library():
    import torch
    from ddpm_lit import closed_form, data, evaluation, forward, guidance, latent, learned_variance, noise_prediction, reverse, runs, sampling, text, training, unclip, unet
    S, X, N = closed_form.NoiseSchedule.cosine(20), torch.zeros(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    net, eight = unet.UNetConfig(8, 1, 32, (1,)), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    labels, t = torch.zeros(2).long(), torch.tensor([1, 2])
    def model(): return unet.UNet(net)
    def denoise(): return noise_prediction.Denoiser(model().eval(), S, 'v')
    table = '''
        unet.UNetConfig(blocks=10**9) | blocks
        unet.UNetConfig(blocks=True) | blocks
        unet.UNetConfig(channels=32*10**6) | channels
        unet.UNetConfig(mults=(10**9,)) | mults
        unet.UNetConfig(mults=()) | mults
        unet.UNetConfig(mults=5) | mults
        unet.UNetConfig(attn=(3,)) | attn
        unet.UNetConfig(image_size=2**40) | image_size
        unet.UNetConfig(image_size=16.) | image_size
        unet.UNetConfig(num_classes=10**12) | num_classes
        unet.UNetConfig(heads=1.) | heads
        unet.UNetConfig(dropout='x') | dropout
        unet.UNetConfig.named('x') | tiny
        model()(X.long(), t) | x has dtype
        model()(X[:, :, :4], t) | x has shape
        model()(X, 1) | t is a int
        model()(X, t.float()) | t has dtype
        model()(X, t[:1]) | t has shape
        model()(X, t - 1) | t lies in
        model()(X, t, y=labels) | y was given
        training.TrainConfig(weight_decay=-1) | weight_decay
        training.TrainConfig(weight_decay=float('nan')) | weight_decay
        training.TrainConfig(weight_decay='x') | weight_decay
        training.TrainConfig(gamma=-1) | gamma
        training.TrainConfig(seed='x') | seed
        training.TrainConfig(steps=True) | steps
        training.TrainConfig(steps=2.) | steps
        training.TrainConfig(lr='x') | lr
        training.TrainConfig(lr=None) | lr
        training.TrainConfig(lr=True) | lr
        training.TrainConfig(ema='x') | ema
        training.TrainConfig(no_class=None) | no_class
        training.TrainConfig(flip='yes') | flip
        training.TrainConfig(T=10**12) | T
        training.TrainConfig(prediction=[]) | prediction
        training.TrainConfig(data=5) | data
        training.TrainConfig(data='') | data
        training.TrainConfig(model='tiny') | model
        training.TrainConfig(model=None) | model
        runs.new_run('new', training.TrainConfig(T=2, schedule='linear')) | T
        training.pick_device('tpu') | device
        training.pick_device(5) | device
        training.fast_path('cpu', 'int8') | dtype
        training.fast_path('cpu', layout='x') | layout
        closed_form.NoiseSchedule(torch.zeros(5)) | betas
        closed_form.NoiseSchedule(torch.tensor([0, .5, 2]).double()) | betas
        closed_form.NoiseSchedule([0, .5]) | betas
        closed_form.NoiseSchedule.linear(3) | alpha_bar_T|beta
        closed_form.NoiseSchedule.cosine(0) | T
        closed_form.NoiseSchedule.cosine(2.5) | T
        closed_form.NoiseSchedule.cosine('x') | T
        closed_form.NoiseSchedule.cosine(True) | T
        closed_form.q_sample(S, X, 21, N) | t must be in 0..20
        closed_form.q_sample(S, X, -1, N) | t must be in 0..20
        closed_form.q_sample(S, X, 1.5, N) | t must be an int
        closed_form.q_sample(S, eight, 1, N) | x0 must be floating
        closed_form.q_sample(S, X, 1, N[:1]) | noise has shape
        closed_form.q_sample(S, X, torch.tensor([1, 2, 3]), N) | t must
        reverse.timesteps(20, 0) | steps
        reverse.timesteps(20, 2.5) | steps
        reverse.timesteps(20, [3, 5]) | steps
        reverse.timesteps(20, 'x') | steps
        reverse.timesteps(20, [21, 0]) | steps
        reverse.reverse_var(S, 2, X, 3) | s
        reverse.reverse_var(S, 2, X, var='x') | var
        noise_prediction.Denoiser(None, S, 'x') | prediction
        list(sampling.ddim(denoise(), N, 2, eta=2)) | eta
        list(sampling.ddim(denoise(), N, 99)) | steps
        sampling.sample(denoise(), n=0) | n must be
        sampling.sample(denoise(), n=2.) | n must be
        sampling.sample(denoise(), n='4') | n must be
        sampling.sample(denoise(), 4, sampler=5) | sampler
        sampling.sample(denoise(), 4, steps='x') | steps
        sampling.sample(denoise(), 4, label=1) | without classes
        sampling.sample(denoise(), 4, batch=0) | batch
        sampling.sample(denoise(), 4, device='cpu') | device
        sampling.sample(denoise(), 4, eta='x') | eta
        sampling.sample(denoise(), 4, colour=1) | colour
        sampling.sample(5, 4) | model
        sampling.sample(None, 4) | model
        sampling.sample('nowhere', 4) | nowhere
        sampling.interpolate(denoise(), X[0], X[0, :, :4], 3) | x0_a
        list(sampling.inpaint(denoise(), X, X)) | mask
        list(sampling.inpaint(denoise(), X, X > 0, repeats=0)) | repeats
        guidance.guided('fashion_mnist', float('nan')) | w
        guidance.guided('fashion_mnist', 2, negative=11) | negative
        guidance.guided('fashion_mnist', 2, negative=-1) | negative
        guidance.guided('fashion_mnist', 2, interval=(5, 1)) | interval
        guidance.guided(denoise(), 2) | negative
        data.ImageSet(X, labels, ('a',)) | images has dtype
        data.ImageSet(eight[0], labels, ('a',)) | images has shape
        data.ImageSet(eight, labels[:1], ('a',)) | labels has
        data.ImageSet(eight, labels + 1, ('a',)) | labels lie
        data.ImageSet(eight, labels, ()) | labels lie
        data.embedded('valid') | split
        data.load_images('') | empty
        data.load_images(5) | name
        data.load_images('images', size=0) | size
        data.load_images('images', size=2.5) | size
        data.load_images('images', 'test') | has no split
        data.load_images('fashion-12k', 'x') | split
        data.from_torchvision('X', 'train', '.') | name
        data.check_images(eight) | dtype
        data.check_images(X + 2) | lies in
        data.check_images(X*float('nan')) | lies in
        data.check_images(X + .3) | looks like
        data.check_images(X[:0]) | has shape
        data.resize(X, 4) | images has dtype
        data.resize(eight, 0) | size
        data.DeviceLoader(data.ImageSet(eight, labels, ('a',)), 3) | batch_size
        data.DeviceLoader(data.ImageSet(eight, labels, ('a',)), 0) | batch_size
        data.DeviceLoader(data.ImageSet(eight, labels, ('a',)), 2, seed=.5) | seed
        data.DeviceLoader(data.ImageSet(eight, labels, ('a',)), 1, rank=2) | rank
        data.DeviceLoader(data.ImageSet(eight, labels, ('a',)), 1, crop=9) | crop
        data.read_image('nowhere') | nowhere
        runs.write_atomic('nowhere/x', b'') | no folder 'nowhere'
        runs.write_atomic('images', b'') | images
        runs.new_folder('run', lambda f: None, False) | exists
        runs.new_folder('new', lambda f: 1/0, False) | division
        runs.load_config('images') | images
        runs.read_config('x', 'here') | here
        runs.load_run('images') | images
        runs.load_run('fresh') | no checkpoint
        runs.save_pretrained('fresh', 'x.safetensors') | no checkpoint
        runs.save_pretrained('run', 'nowhere/x.safetensors') | nowhere
        runs.save_pretrained('run', 'x.safetensors', about=5) | metadata
        runs.load_pretrained('nowhere') | nowhere
        runs.load_pretrained('notes.txt') | notes.txt
        runs.load_diffusers('nowhere') | nowhere
        runs.load_diffusers('run') | run
        runs.open_run('run', 'cpu', steps=1) | steps
        runs.open_run('run', 'cpu', colour=1) | colour
        runs.train(out='', data='images') | out
        runs.train(lr='x', data='images') | lr
        runs.train(colour=1, data='images') | colour
        runs.train(size='x', data='images') | size
        evaluation.read_samples('notes.txt') | notes.txt
        evaluation.load_classifier('notes.txt') | notes.txt
        evaluation.load_classifier('weights.safetensors') | weights.safetensors
        evaluation.moments(torch.zeros(3, 5)) | 3 images
        evaluation.evaluate_run('run', bits=1) | bits
        evaluation.evaluate_run('run', seed=-1) | seed
        evaluation.evaluate_run('run', n=2.5) | n must be
        learned_variance.load_learned('run', head='weights.safetensors') | weights.safetensors
        latent.load_network(latent.VAE, 'notes.txt') | notes.txt
        latent.load_network(latent.VAE, 'classifier.safetensors') | classifier.safetensors
        text.tokenize('zebra') | zebra
        text.paint('a red shirt', n=0) | n
        text.paint('a red shirt', n=2.5) | n
        text.paint([]) | prompt
        text.paint('a red shirt', strength=0) | strength
        text.paint('a red shirt', init=eight) | init
        text.paint('a red shirt', vary=.5) | vary
        text.load_painter('classifier.safetensors') | classifier.safetensors
        text.load_painter('notes.txt') | notes.txt
        latent.load_network(unclip.CLIP, 'classifier.safetensors') | classifier.safetensors
        latent.load_network(unclip.CLIP, 'weights.safetensors') | weights.safetensors
        latent.load_network(unclip.PriorNet, 'notes.txt') | notes.txt'''
    for line in table.strip().splitlines():
        code, says = line.strip().split(' | ')
        def act(code=code, says=says, names=locals()):
            try: eval(code, {**globals(), **names})
            except (ValueError, TypeError, OSError, ZeroDivisionError) as e:
                assert re.search(says, str(e)), f'{type(e).__name__} does not say {says!r}: {e}'
                sys.exit(f'{type(e).__name__}: {e}')
        refuse(act, says, name=code)


def environment():
    resume, sample = 'ddpm_lit_train --resume run --steps 6', 'ddpm_lit_sample run --n 4 --steps 2 --out new'
    evaluate, paint, export = 'ddpm_lit_evaluate run --n 4 --steps 2 --bits 2 --out new', 'ddpm_lit_paint "a red sneaker" --n 1 --steps 1 --out new', 'ddpm_lit_export run new'
    every = (resume, sample, evaluate, paint, export)
    def short(line): return line.split()[0][9:]
    def done(line): return trained() if line == resume else exists('new')
    # a full disk
    def at_most(n): return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))
    def not_saved(r):
        assert r.code == 1 and len(lines(r.err)) == 1 and 'step 6 is not saved in run. The last good checkpoint is run/checkpoints/0000004' in r.err, r
        assert weights_of('run')[0] == 4 and run(resume).code == 0
        trained()(r)
    accept(expect(resume, not_saved, inside=at_most(100_000)), fine, name='no file over 100 kB: train, then resumed')
    for line in every[1:]: refuse(line, 'File too large|27', name=f'no file over 1 kB: {short(line)}', inside=at_most(1000))
    # closed, full and narrow outputs
    for line in every:
        for enc in ('ascii', 'cp1252'):
            def narrow(enc=enc): sys.stdout = open(1, 'w', encoding=enc, closefd=False); sys.stderr = open(2, 'w', encoding=enc, buffering=1, errors='backslashreplace', closefd=False)
            accept(line, done(line), name=f'output in {enc}: {short(line)}', inside=narrow, says='' if line != resume else 'steps 4 → 6|steps 4 . 6')
        def into(fd): os.dup2(fd, 1); sys.stdout = open(1, 'w', encoding='utf-8', closefd=False)
        def deaf(): r, w = os.pipe(); os.close(r); into(w)
        def shut(*fds): return lambda: [(os.close(n), setattr(sys, ('stdin', 'stdout', 'stderr')[n], None)) for n in fds]
        def no_room(): into(os.open('/dev/full', os.O_WRONLY))
        accept(line, done(line), name=f'nobody reads: {short(line)}', inside=deaf, says='')
        accept(line, done(line), name=f'closed stderr: {short(line)}', inside=shut(2), says='')
        accept(line, done(line), name=f'all streams closed: {short(line)}', inside=shut(0, 1, 2), says='')
        def told(r, line=line): assert r.code == 1 and len(lines(r.err)) == 1 and 'No space left' in r.err, r; line == resume or done(line)(r)
        accept(expect(line, told, inside=no_room), fine, name=f'a full device for stdout: {short(line)}')
    accept(sample, done(sample), name='closed stderr, a program: sample', real='{} 2>&-', says='')
    accept(evaluate, done(evaluate), name='all streams closed, a program: evaluate', real='{} <&- >&- 2>&-', says='')
    accept(export, done(export), name='nobody reads, a program: export', real='{} | true; [ ${{PIPESTATUS[0]}} = 0 ]', says='')
    def told(r): assert r.code == 1 and lines(r.err) == ['ddpm_lit_paint: [Errno 28] No space left on device'], r; done(paint)(r)
    accept(expect(paint, told, real='{} > /dev/full'), fine, name='a full device for stdout, a program: paint')
    accept(evaluate, lambda r: (exists('new')(r), len(r.out.splitlines()) == 1 or 1/0), name='evaluate | head -1', real='{} | head -1', says='')
    accept(sample, exists('new'), name='a locale of ASCII: sample', real='LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}', says='')
    # Ctrl-C during imports
    for line, module in ((resume, 'torch'), (sample, 'torch.nn'), (evaluate, 'numpy'), (paint, 'ddpm_lit.training'), (export, 'fastcore.basics')):
        spy = ("import os, signal, sys\nclass Spy:\n    def find_spec(self, name, path=None, target=None):\n"
               f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\nsys.meta_path.insert(0, Spy())")
        refuse(line, 'interrupted', name=f'Ctrl-C during imports: {short(line)}', real='{}', inside=spy)
    # variables that torchrun leaves behind
    def alone_in_the_world(**more):
        def inside(): from ddpm_lit import runs; runs.JOIN_S = 2; os.environ.update(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT='29876') or os.environ.update(more)
        return inside
    for line in (resume, sample, evaluate): refuse(line, 'RANK and WORLD_SIZE are set, but the processes did not meet', name=f'leftover RANK: {short(line)}', inside=alone_in_the_world())
    for k, v in dict(RANK='x', WORLD_SIZE='0', MASTER_PORT='x').items(): refuse(sample, 'RANK|WORLD|PORT', name=f'leftover {k}={v}', inside=alone_in_the_world(**{k: v}))
    # folders
    def vanish(): os.makedirs('gone'); os.chdir('gone'); os.rmdir('../gone')
    refuse('ddpm_lit_sample fashion_mnist --n 1 --steps 1', 'No such file|folder', name='a working folder that is gone: sample', inside=vanish)
    refuse('ddpm_lit_train --batch_size 4 --steps 1', 'No such file|folder', name='a working folder that is gone: train', inside=vanish)
    if os.getuid() == 0:
        def nobody(): os.setgid(65534); os.setuid(65534)
        def readable(): [os.chmod(p, 0o755) for p in ('..', '.')]
        for line in every: refuse(line, 'Permission denied', readable, name=f'a folder of somebody else: {short(line)}', inside=nobody)
    # signals
    def at_call(module, name, k, act):
        "Before the k-th call of a function, do something."
        def inside():
            m = importlib.import_module(module) if isinstance(module, str) else module
            old, count = getattr(m, name), itertools.count(1)
            def new(*a, **kw):
                if next(count) == k: act()
                return old(*a, **kw)
            setattr(m, name, new)
        return inside
    def me(s): return lambda: os.kill(os.getpid(), s)
    import ddpm_lit.training
    step = ddpm_lit.training.Trainer, 'step'
    for s, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        def check(code=code, s=s):
            def stopped(r): assert r.code == code and f'{s.name}: stopped after step 5 of 6, nothing is lost. To continue: ddpm_lit_train --resume run' in r.out and weights_of('run')[0] == 5 and steps_in('run') == [1, 2, 3, 4, 5], r
            return stopped
        accept(expect(resume, check(), inside=at_call(*step, 1, me(s))), fine, name=f'{s.name} during training')
    def interrupted(r):
        assert r.code == 1 and lines(r.err) == ['ddpm_lit_train: interrupted'] and run(resume).code == 0, r
        trained()(r)
    accept(expect(resume, interrupted, inside=at_call(*step, 1, lambda: (me(signal.SIGINT)(), me(signal.SIGINT)()))), fine, name='Ctrl-C twice during training, then resumed')
    for line, module in ((sample, 'ddpm_lit.sampling'), (evaluate, 'ddpm_lit.sampling'), (paint, 'ddpm_lit.text')):
        refuse(line, 'interrupted, nothing was written', name=f'Ctrl-C during {short(line)}', inside=at_call(module, 'start_noise', 1, me(signal.SIGINT)))
    refuse(export, 'interrupted', name='Ctrl-C during export', inside=at_call('ddpm_lit.runs', 'save', 1, me(signal.SIGINT)))
    # kills and full disks at every few calls that write; then the run goes on to the very same weights
    def kill(half):
        def act(*a): half and a and open(a[0], 'wb').write(a[1][:len(a[1])//2]); os.kill(os.getpid(), signal.SIGKILL)
        return act
    def full(*a): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(a[0]) if a else None)
    def on_write(k, act):
        "At the k-th call that changes the disk, `act(its arguments)` first."
        def inside():
            count = itertools.count(1)
            for m, name in ((os, 'replace'), (os, 'rename'), (os, 'fsync'), (Path, 'write_bytes'), (Path, 'mkdir'), (Path, 'rename')):
                def new(*a, old=getattr(m, name), name=name, **kw):
                    if next(count) == k: act(*a) if name == 'write_bytes' else act()
                    return old(*a, **kw)
                setattr(m, name, new)
        return inside
    def survives(k, act, killed):
        def do():
            KILLED.append(1)
            first = run('ddpm_lit_train --resume fresh', on_write(k, act))
            if killed: assert first.code == -signal.SIGKILL or first.code == 0, first
            elif first.code: assert len(lines(first.err)) == 1 and 'No space left' in first.err and 'Traceback' not in first.err, first.err
            again = run('ddpm_lit_train --resume fresh')
            assert again.code == 0, again.err
            assert weights_of('fresh') == weights_of('run'), 'other weights'
            assert steps_in('fresh') == [1, 2, 3, 4], steps_in('fresh')
            assert first.code == 0 or not list(Path('fresh').rglob('.*.ddpm_lit')), list(Path('fresh').rglob('.*.ddpm_lit'))
        return do
    for k in range(1, 60, 7): accept(survives(k, kill(k % 2), True), fine, name=f'killed at call {k} that writes, then resumed')
    for k in range(2, 60, 12): accept(survives(k, full, False), fine, name=f'the disk is full at call {k} that writes, then resumed')
    def new_again():   # killed before config.json has its name: the same command works
        out = "new/ü ✓ 'x' $HOME\n%s"
        line = f'ddpm_lit_train --data images --size 8 --batch_size 4 --steps 1 --classes --flip --accumulate 2 --crop_from 12 --out {shlex.quote(out)}'
        first = run(line, at_call(os, 'replace', 1, me(signal.SIGKILL)))
        assert first.code == -signal.SIGKILL and not Path(out, 'config.json').exists(), first
        assert 'is no run' in run(f'ddpm_lit_train --resume {shlex.quote(out)}').err
        assert (again := run(line)).code == 0, again.err
        trained(1, out)(again)
    accept(new_again, fine, name='killed before config.json is there, then the same command; --out with an odd name')
    def side_by_side():   # each believes to have process number 1, as in containers
        from ddpm_lit.runs import write_atomic
        os.getpid = lambda: 1
        pids = [start(lambda n=n: [write_atomic('shared', bytes([n])*10_000) for _ in range(20)], f'../o{n}', f'../e{n}') for n in range(4)]
        codes = [wait(p)[0] for p in pids]
        assert codes == [0]*4, [Path(f'../e{n}').read_text() for n in range(4)]
        assert len(Path('shared').read_bytes()) == 10_000 and len(set(Path('shared').read_bytes())) == 1
    accept(side_by_side, fine, name='four processes with one process number write one file')
    def two_ranks(line, codes, check, act=None):
        def do():
            def rank(k):
                def f():
                    os.environ.update(RANK=str(k), WORLD_SIZE='2', LOCAL_RANK=str(k), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
                    if act and k: act()
                    call(line)
                return f
            with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
            pids = [start(rank(k), f'../o{k}', f'../e{k}') for k in range(2)]
            first = wait(pids[0])[0]
            with contextlib.suppress(ProcessLookupError): os.kill(pids[1], signal.SIGTERM)   # as torchrun does
            wait(pids[1])
            err = Path('../e0').read_text() + Path('../e1').read_text()
            assert first == codes, (first, err)
            check(err)
        return do
    accept(two_ranks('ddpm_lit_train --resume fresh', 143, lambda err: (weights_of('fresh')[0] == 2 and not lines(err)) or 1/0, at_call(*step, 2, me(signal.SIGTERM))), fine, name='two processes: one gets SIGTERM, both stop')
    accept(two_ranks('ddpm_lit_train --data images --batch_size 4 --lr -1', 1, lambda err: (len(lines(err)) == 1 and 'lr must be' in err) or 1/0), fine, name='two processes: one message for bad input')


def expect(line, check, **kw):
    "A function that runs a command line and checks its Result, whatever the exit code."
    def do():
        r = run(line, **kw)
        assert not r.timed_out and 'Traceback' not in r.err, r.err
        check(r)
    return do


CATEGORIES = {'options of train': training, 'broken runs': runs, 'broken weights': weights, 'options of sample': sampling, 'evaluate': evaluation, 'images': images, 'paint': painting, 'export': exporting, 'library': library, 'environment': environment}


def main(words):
    global kind
    os.environ.update(OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', PYTHONPATH=str(root))
    for k in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'): os.environ.pop(k, None)
    signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell starts what is in the background with Ctrl-C ignored
    sys.path.insert(0, str(root))
    import importlib.readers, ddpm_lit.evaluation, ddpm_lit.guidance, ddpm_lit.learned_variance, ddpm_lit.text, ddpm_lit.unclip, matplotlib.figure, torch   # once, before the forks
    torch.set_num_threads(1)
    draw = ddpm_lit.runs.Run.pictures
    ddpm_lit.runs.Run.pictures = lambda self, progress=True: draw(self, 4, 5, progress)   # few, at the end of each training
    begin, tally = time.time(), {}
    for kind, cases in CATEGORIES.items(): cases()
    with tempfile.TemporaryDirectory() as tmp:
        fixtures, scripts = Path(tmp)/'fixtures', Path(tmp)/'bin'
        fixtures.mkdir(); scripts.mkdir(); write_scripts(scripts); os.chdir(fixtures)
        os.chmod(tmp, 0o755)   # for the cases that give up their rights
        with contextlib.redirect_stdout(io.StringIO()): make_fixtures()   # here, so that the forks find everything imported
        for case in table:
            if words and not any(w in f'{case.kind}: {case.name}' for w in words): continue
            spent = resource.getrusage(resource.RUSAGE_CHILDREN)
            KILLED.clear()
            r, wrong = attack(case, fixtures)
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
            checks.check(f'{case.kind}: {case.name} ({seconds:.1f} s)', not wrong, f'{wrong}\n  exit code {r.code}\n  stdout: {r.out[-600:]}\n  stderr: {r.err[-1500:]}')
            tally.setdefault(case.kind, []).append((bool(case.check), bool(wrong)))
        os.chdir(root)
    print(f'\n{"category":<20}{"tried":>8}{"one line":>10}{"went on":>10}{"failed":>8}')
    for kind, rows in tally.items():
        print(f'{kind:<20}{len(rows):>8}{sum(not a and not w for a, w in rows):>10}{sum(a and not w for a, w in rows):>10}{sum(w for _, w in rows):>8}')
    used = sum(sum(resource.getrusage(w)[:2]) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f'{used:.0f} s of processor time, {time.time() - begin:.0f} s in all')
    checks.end()


if __name__ == '__main__': main(sys.argv[1:])
