import math
import torch

def linear_betas(T, beta_1=1e-4, beta_T=0.02):
    "β_t rising linearly; T+1 float64 values indexed by t, `betas[0] == 0`."
    return torch.cat([torch.zeros(1, dtype=torch.float64), torch.linspace(beta_1, beta_T, T, dtype=torch.float64)])

def scaled_linear_betas(T, beta_1=0.00085, beta_T=0.012):
    return torch.cat([torch.zeros(1, dtype=torch.float64), torch.linspace(beta_1**.5, beta_T**.5, T, dtype=torch.float64)**2])

def cosine_betas(T, s=0.008, beta_max=0.999):
    t = torch.arange(T+1, dtype=torch.float64)
    f = torch.cos((t/T + s)/(1 + s)*math.pi/2)**2
    betas = torch.zeros_like(t)
    betas[1:] = (1 - f[1:]/f[:-1]).clamp(max=beta_max)
    return betas

def q_step(betas, x_prev, t, noise):
    "One step of the chain: Eq. (1.n)."
    beta = betas[t].to(x_prev)
    return (1-beta).sqrt()*x_prev + beta.sqrt()*noise

def q_chain(betas, x0, generator=None):
    "Yield x_1, …, x_T."
    x = x0
    for t in range(1, len(betas)):
        x = q_step(betas, x, t, torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device))
        yield x
