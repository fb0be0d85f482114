"""The contestants: this package, `diffusers` and `denoising-diffusion-pytorch`, each with the network, loss, optimiser, average
and sampler that it documents. All take their images from the same loader on the device, so what a peer's own reading of files
would cost is not counted. A peer is imported when it is built, so that a missing one stops nobody else."""
import copy
from dataclasses import dataclass
from functools import partial
import torch, torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from ddpm_lit.data import DeviceLoader, ImageSet, load_images
from ddpm_lit.noise_prediction import Denoiser
from ddpm_lit.sampling import sample
from ddpm_lit.runs import Run, defaults
from ddpm_lit.training import TrainConfig, autocast, fast_path
from ddpm_lit.unet import UNet, UNetConfig
from ddpm_lit.viz import to_uint8

FOREVER = 100_000   # steps of a schedule whose end is not waited for
CHUNK = 250         # images drawn at a time


@dataclass(frozen=True)
class Task:
    "What all contestants are given."
    net: UNetConfig
    batch: int
    images: ImageSet
    device: torch.device
    seed: int

    def loader(self): return DeviceLoader(self.images, self.batch, self.device, self.seed)

def task(size, device, seed=0, data='fashion-12k', batch=None):
    "Grey garments at the resolution of the named U-Net: 16×16 for `tiny`, 32×32 for `small` and `base`."
    net = UNetConfig.named(size, in_channels=1)
    return Task(net, batch or (64 if size == 'tiny' else 256), load_images(data, 'train', net.image_size), torch.device(device), seed)

def count(model): return sum(p.numel() for p in model.parameters())


class Contestant:
    "A network and its loop. What is measured: `train_step()`, and `sample(n, steps, how, averaged)`, with the averaged weights or the raw ones."
    warmup = 0         # steps of the learning rate's rise, where the library has one
    def __init__(self, task, dtype):
        self.task, self.dtype, self.images = task, dtype, task.loader()
        torch.manual_seed(task.seed)

    def autocast(self): return autocast(self.task.device, self.dtype)

    def sample(self, n, steps, how='ddim', averaged=True):   # how: 'ddim' or 'ancestral'
        "n images as uint8 `[n, C, H, W]` on the CPU."
        with self.autocast(): return torch.cat([to_uint8(self.draw(min(CHUNK, n - i), steps, how, averaged)).cpu() for i in range(0, n, CHUNK)])

    @torch.no_grad()
    def flops(self):
        "Floating-point operations of one forward pass, for one image; a multiplication and an addition count as two."
        x = torch.zeros(1, self.task.net.in_channels, *2*[self.task.net.image_size], device=self.task.device)
        with self.autocast(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self.net.forward(x, torch.ones(1, dtype=torch.int64, device=x.device))   # past a compiled `__call__`
        return counter.get_total_flops()


class Ours(Contestant):
    "`Trainer.step` as `ddpm_lit_train` takes it, and `sample`; `dtype=None`: the trainer's own choice."
    library = 'ddpm_lit'
    def __init__(self, task, dtype=None, lr=None, warmup=None, steps=FOREVER, compile=False, run='.'):
        super().__init__(task, dtype or fast_path(task.device)[0])
        usual = defaults(task.device)
        asked = {k: v for k, v in dict(lr=lr or usual.get('lr'), warmup=warmup or usual.get('warmup')).items() if v}
        config = TrainConfig(model=task.net, steps=steps, batch_size=task.batch, seed=task.seed, **asked)
        self.trainer = Run(run, config, UNet(task.net), self.images, task.device, compile)
        self.trainer.dtype = self.dtype
        self.net, self.lr, self.warmup = self.trainer.model, config.lr, config.warmup
        self.train_step = self.trainer.step

    def sample(self, n, steps, how='ddim', averaged=True):
        t = self.trainer
        net = t.average.model if averaged else copy.deepcopy(self.net).eval()
        denoise = Denoiser(net, t.schedule, t.config.prediction)
        return sample(denoise, n, how, steps, seed=self.task.seed, batch=CHUNK)


class Diffusers(Contestant):
    """The loop of diffusers' `train_unconditional.py` with its default settings, without accelerate; `UNet2DModel` is shaped
    like our U-Net, to the last parameter and group of channels. Mixed precision as accelerate does it: autocast round the network.
    `tuned`: with what a user could still turn on, the fused AdamW, and on a CPU attention written out."""
    library, lr, warmup = 'diffusers', 1e-4, 500
    def __init__(self, task, dtype=torch.float32, lr=None, warmup=None, steps=FOREVER, tuned=False):
        from diffusers import DDPMScheduler, UNet2DModel
        from diffusers.models.attention_processor import Attention, AttnProcessor
        from diffusers.optimization import get_cosine_schedule_with_warmup
        from diffusers.training_utils import EMAModel
        super().__init__(task, dtype)
        self.lr, self.warmup, c = lr or self.lr, warmup or self.warmup, task.net
        kinds = ['Attn' if r in c.attn else '' for r in c.resolutions]
        self.net = UNet2DModel(
            sample_size=c.image_size, in_channels=c.in_channels, out_channels=c.in_channels, layers_per_block=c.blocks, dropout=c.dropout,
            block_out_channels=[c.channels*m for m in c.mults], norm_num_groups=c.groups or 32, attention_head_dim=None if c.heads == 1 else c.channels//c.heads,
            down_block_types=[f'{k}DownBlock2D' for k in kinds], up_block_types=[f'{k}UpBlock2D' for k in reversed(kinds)]).to(task.device)
        for layer in self.net.modules() if tuned and task.device.type == 'cpu' else ():
            if isinstance(layer, Attention): layer.set_processor(AttnProcessor())
        self.schedule = DDPMScheduler(num_train_timesteps=1000)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), self.lr, betas=(.95, .999), weight_decay=1e-6, eps=1e-8, fused=tuned or None)
        self.rate = get_cosine_schedule_with_warmup(self.optimizer, self.warmup, steps)
        self.averaged = copy.deepcopy(self.net).eval()
        self.ema = EMAModel(self.net.parameters(), decay=.9999, use_ema_warmup=True, inv_gamma=1., power=.75, foreach=True)

    def train_step(self):
        x, _ = next(self.images)
        noise = torch.randn(x.shape, device=x.device)
        t = torch.randint(0, 1000, (len(x),), device=x.device)
        x_t = self.schedule.add_noise(x, noise, t)
        with self.autocast(): output = self.net(x_t, t).sample
        loss = F.mse_loss(output.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.)
        self.optimizer.step()
        self.rate.step()
        self.optimizer.zero_grad()
        self.ema.step(self.net.parameters())
        return loss.item()             # the example logs every step

    def draw(self, n, steps, how, averaged):
        from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline
        if averaged: self.ema.copy_to(self.averaged.parameters())
        else: self.averaged.load_state_dict(self.net.state_dict())
        pipe = DDPMPipeline(self.averaged, self.schedule) if how == 'ancestral' else DDIMPipeline(self.averaged, DDIMScheduler(num_train_timesteps=1000))
        pipe.set_progress_bar_config(disable=True)
        images = pipe(batch_size=n, num_inference_steps=steps, output_type='np').images   # [n, H, W, C] in [0, 1]
        return torch.from_numpy(images).permute(0, 3, 1, 2)*2 - 1


class Lucidrains(Contestant):
    """`Unet` and `GaussianDiffusion` of denoising-diffusion-pytorch with the step of its `Trainer` and its default settings, without
    accelerate; as many levels as our U-Net, and the width that comes nearest to its parameters."""
    library, lr = 'denoising-diffusion-pytorch', 1e-4
    def __init__(self, task, dtype=torch.float32, lr=None, warmup=None, steps=FOREVER):
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet, denoising_diffusion_pytorch as module
        from ema_pytorch import EMA
        module.tqdm = lambda times, **kw: times   # as for the others, no bar
        super().__init__(task, dtype)
        self.lr, c = lr or self.lr, task.net
        unet = partial(Unet, dim_mults=c.mults, channels=c.in_channels, dropout=c.dropout, flash_attn=dtype != torch.float32)
        with torch.device('meta'):
            target = count(UNet(c))
            width = min(range(c.channels//2, 2*c.channels, 4), key=lambda w: abs(count(unet(w)) - target))
        self.net = unet(width)
        self.diffusion = GaussianDiffusion(self.net, image_size=c.image_size, timesteps=1000, auto_normalize=False).to(task.device)
        self.optimizer = torch.optim.Adam(self.diffusion.parameters(), self.lr, betas=(.9, .99))
        self.ema = EMA(self.diffusion, beta=.995, update_every=10).to(task.device)

    def train_step(self):
        x, _ = next(self.images)
        with self.autocast(): loss = self.diffusion(x)
        value = loss.item()            # its Trainer shows every loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update()
        return value

    def draw(self, n, steps, how, averaged):
        d = (self.ema.ema_model if averaged else copy.deepcopy(self.diffusion)).eval()   # at fewer than 1000 steps its ancestral sampler is its DDIM with η = 1
        d.sampling_timesteps, d.is_ddim_sampling, d.ddim_sampling_eta = steps, steps < 1000, float(how == 'ancestral')
        return d.sample(batch_size=n)


PEERS = (Diffusers, Lucidrains)

def precisions(device): return dict.fromkeys([fast_path(device)[0], torch.float32])   # the device's fast one first

def label(cls, dtype): return f"{cls.library} {'fp32' if dtype == torch.float32 else 'bf16'}"

def gather(makers):
    "Build what can be built: `{name: contestant}`, and for the others `{name: why not}`."
    found, missing = {}, {}
    for name, make in makers.items():
        try: found[name] = make()
        except (ImportError, RuntimeError) as e: missing[name] = str(e)   # diffusers says RuntimeError where an import of its own fails
    return found, missing

def check_equal(found, tolerance=.05):
    "Refuse a race between networks whose parameter counts differ by more than 5 %."
    counts = {name: count(c.net) for name, c in found.items()}
    first = next(iter(counts.values()))
    if any(abs(n/first - 1) > tolerance for n in counts.values()): raise ValueError(f"unequal networks: {counts}")
