"""One row of sbx: environment steps, each with an update.

PYTHONPATH=. DIR/peers/environment/bin/python -m launch.peers.sbx_worker '{"method": "online-sac", ...}'
"""

import jax
from sbx import SAC, TD3

from launch.peers.learn_loop import serve_model

if __name__ == "__main__":
    # A compilation that is read from a cache is none.
    jax.config.update("jax_enable_compilation_cache", False)
    serve_model({"online-sac": SAC, "online-td3": TD3}, compiles=True)
