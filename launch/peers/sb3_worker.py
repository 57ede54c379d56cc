"""One row of stable-baselines3: environment steps, each with an update.

PYTHONPATH=. DIR/peers/environment/bin/python -m launch.peers.sb3_worker '{"method": "online-sac", ...}'
"""

from stable_baselines3 import SAC, TD3

from launch.peers.learn_loop import serve_model

if __name__ == "__main__":
    serve_model({"online-sac": SAC, "online-td3": TD3}, compiles=False)
