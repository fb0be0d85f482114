from ddpm_lit.closed_form import at

def q_posterior(schedule, x0, x_t, t, s=None):
    "Mean and variance of q(x_s | x_t, x_0), s < t (default s = t-1): Eq. (3.n); Ho et al. 2020, Eq. 6-7."

def reverse_var(schedule, t, s=None, kind='beta_tilde'):
    "σ² of p_θ(x_s | x_t): 'beta' = 1-ᾱ_t/ᾱ_s (β_t when s = t-1) or 'beta_tilde' = that times (1-ᾱ_s)/(1-ᾱ_t)."
