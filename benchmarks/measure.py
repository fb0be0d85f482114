"""How everything here is measured and written down: jobs in turn, round after round, ratios within each round, and a record
that names machine, versions, command, seed and commit."""
import fcntl, itertools, json, os, shlex, statistics, subprocess, sys, time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
import torch
from ddpm_lit.evaluation import machine
from ddpm_lit.runs import write_atomic
from ddpm_lit.training import matmul_rate

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ('torch', 'numpy', 'diffusers', 'denoising-diffusion-pytorch', 'ema-pytorch', 'accelerate')


def sync(device):
    if device.type == 'cuda': torch.cuda.synchronize(device)

def timed(job, device):
    "Seconds that `job()` takes, until the device has finished."
    sync(device)
    start = time.perf_counter()
    job()
    sync(device)
    return time.perf_counter() - start

def alternate(jobs, device, seconds, rounds=3):
    """`{name: [seconds in each round]}`, each job once a round after one that is not counted. Every round begins with another
    job, every second one goes backwards. As many rounds as fit into `seconds`, but no fewer than `rounds`."""
    names, times, end = list(jobs), {name: [] for name in jobs}, time.perf_counter() + seconds
    for job in jobs.values(): job()
    for i in itertools.count():
        start, turn = time.perf_counter(), names[i % len(names):] + names[:i % len(names)]
        for name in turn[::-1] if i % 2 else turn: times[name].append(timed(jobs[name], device))
        if i + 1 >= rounds and 2*time.perf_counter() - start > end: return times

def repeated(step, k):
    def job():
        for _ in range(k): step()
    return job

def steps_for(step, device, seconds):
    "How often `step` must be taken for a slice of about `seconds`; the first three are not counted."
    repeated(step, 3)()
    return max(1, round(seconds/timed(step, device)))

def short(x): return float(f'{x:.4g}')

def spread(values):
    "Median and quartiles, and the values themselves."
    q1, median, q3 = statistics.quantiles(values, n=4, method='inclusive')
    return dict(median=short(median), q1=short(q1), q3=short(q3), rounds=[short(v) for v in values])

def rates(times, work):
    "Work done per second, spread over the rounds."
    return {name: spread([work/s for s in seconds]) for name, seconds in times.items()}

def ratios(times, pairs):
    "How many times as fast the first of each pair is as the second, round by round."
    return [dict(a=a, b=b, **spread([y/x for x, y in zip(times[a], times[b])])) for a, b in pairs]

def ceiling(device, dtype):
    "TFLOP/s of the largest matrix product this device does well: the best of ten."
    return short(matmul_rate(device, dtype, 10)/1e12)

def installed(name):
    try: return version(name)
    except PackageNotFoundError: return None

def commit():
    "Of the measured tree; `+` if it was changed since. Where there is no git, the environment variable GIT_COMMIT."
    def git(*args): return subprocess.run(['git', '-C', ROOT, *args], capture_output=True, text=True, check=True).stdout.strip()
    try: return git('rev-parse', '--short=12', 'HEAD') + '+'*bool(git('status', '--porcelain', '--', 'ddpm_lit', 'benchmarks'))
    except (OSError, subprocess.CalledProcessError): return os.environ.get('GIT_COMMIT')

def command(args, parser):
    "The command line that gives these settings; where images lie and the result goes is left out."
    words = [args.what] if 'what' in args else []
    for k, v in vars(args).items():
        if k in ('what', 'out', 'root') or v == parser.get_default(k) and k not in ('device', 'size'): continue
        words += [f'--{k}'] + [f'{x:g}' if isinstance(x, float) else str(x) for x in (v if isinstance(v, list) else [] if v is True else [v])]
    return shlex.join(['python', f'benchmarks/{Path(sys.argv[0]).name}', *words])

def record(args, parser):
    "The head of every JSON file."
    return dict(command=command(args, parser), machine=machine(torch.device(args.device)), commit=commit(), seed=args.seed,
                versions={name: installed(name) for name in PACKAGES})

def destination(args):
    "Where the JSON goes: --out, or results/SCRIPT_DEVICE.json, or SCRIPT_WHAT_DEVICE.json; --quick writes nothing unless asked."
    if args.out or args.quick: return args.out and Path(args.out)
    return ROOT/'results'/('_'.join([Path(sys.argv[0]).stem, *([args.what] if 'what' in args else []), args.device.split(':')[0]]) + '.json')

def write(path, result):
    if path is None: return
    write_atomic(path, (json.dumps(result, indent=1, ensure_ascii=False) + '\n').encode())

def update(path, change):
    "Let `change(result)` add to the file, which another call may be writing, too."
    if path is None: return
    with path.with_suffix('.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = json.loads(path.read_text()) if path.exists() else {}
        change(result)
        write(path, result)

def keep(path, part, key, value, head):
    "Add one result to a file of several parts."
    update(path, lambda result: result.setdefault(part, dict(head=head, runs={}))['runs'].update({key: value}))

def resumed(path, result):
    "The runs that an earlier call has written, if it was made on this machine, of this commit and with these settings."
    before = json.loads(path.read_text()) if path and path.exists() else {}
    return before['runs'] if all(before.get(k) == result[k] for k in ('machine', 'versions', 'commit', 'setting', 'seed')) else []

def options(parser, limit, sizes=True):
    "The options all scripts share."
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    if sizes: parser.add_argument('--size', default='tiny', choices=('tiny', 'small', 'base'), help='of the U-Net')
    parser.add_argument('--seed', default=0, type=int, help='of weights, order, times and noise')
    parser.add_argument('--limit', default=limit, type=float, help='seconds after which nothing new is begun')
    parser.add_argument('--out', help='where the JSON goes (results/SCRIPT_DEVICE.json)')
    parser.add_argument('--quick', action='store_true', help='seconds instead of minutes, to see that it runs; writes no JSON unless --out is given')
