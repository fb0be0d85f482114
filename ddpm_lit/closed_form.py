from dataclasses import dataclass, field
import torch
from ddpm_lit.forward import linear_betas, cosine_betas, scaled_linear_betas

@dataclass(frozen=True)
class NoiseSchedule:
    "β_t and all that follows from it, float64, indexed by t = 0…T."
    betas: torch.Tensor          # [T+1] float64, betas[0] == 0
    terminal: float = 1e-3       # largest ᾱ_T accepted
    alphas: torch.Tensor = field(init=False, repr=False)
    alpha_bars: torch.Tensor = field(init=False, repr=False)

    def __post_init__(self):
        betas = self.betas
        # ... checks: 1-D, float64, betas[0]==0, 0<betas[1:]<1, alpha_bars[-1] <= terminal -> ValueError naming the culprit
        object.__setattr__(self, 'alphas', 1 - betas)
        object.__setattr__(self, 'alpha_bars', (1 - betas).cumprod(0))

    @classmethod
    def linear(cls, T=1000, **kw): return cls(linear_betas(T, **kw))
    @classmethod
    def cosine(cls, T=1000, **kw): return cls(cosine_betas(T, **kw))

    @property
    def T(self): return len(self.betas) - 1
    @property
    def snr(self): return self.alpha_bars/(1 - self.alpha_bars)

    def to(self, device):
        "The same schedule with its arrays on `device`."
        ...

def at(table, t, x):
    "`table[t]`, shaped and cast to multiply the batch `x` `[B, ...]`; `t` is an int or an int64 tensor `[B]`, 0 ≤ t ≤ T."
    a = table[t]
    return a.to(x).reshape(-1, *[1]*(x.ndim - 1)) if a.ndim else a.to(x)

def q_sample(schedule, x0, t, noise, s=0):
    "Draw x_t given x_0 (or x_s given s) in one jump: Eq. (2.n); Ho et al. 2020, Eq. 4."
    a = at(schedule.alpha_bars, t, x0.double())/at(schedule.alpha_bars, s, x0.double())
    return a.sqrt().to(x0)*x0 + (1-a).sqrt().to(x0)*noise
