"""Stacks of inverted bottlenecks: Once-for-All MobileNetV3, MnasNet, ProxylessNAS."""
