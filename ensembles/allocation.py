"""How much memory a constructor may ask for, so that nothing small in a file takes all that there is."""

from contextlib import suppress
from math import prod

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ensembles.plain import Unfit

FREE = 2**27  # numbers, half a gigabyte
TIMES = 256  # a packed ensemble is cut from M whole networks, of which (alpha / M)^2 is left
FREE_TENSORS, TENSORS = 4000, 64  # that may be made, whatever is in the file and for each tensor there


class Limited(TorchDispatchMode):
    """Stop a constructor before it takes more memory than the network that a file holds can need.

    Args:
        state: the weights in the file.

    Raises:
        Unfit: it would make too many new tensors or too many numbers in them, all together, or compute one such.
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.limit = FREE + TIMES * sum(prod(value.shape) for value in state.values() if isinstance(value, Tensor))
        self.tensors = FREE_TENSORS + TENSORS * len(state)
        self.made = self.made_tensors = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if all(returned.alias_info is None for returned in func._schema.returns):  # neither in place nor a view
            self._foresee(func, args, kwargs)
        return func(*args, **kwargs)

    def _foresee(self, func, args: tuple, kwargs: dict) -> None:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor.is_meta for tensor in given) or torch.device(kwargs.get("device") or "cpu").type == "meta":
            return
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
        kwargs = {key: None if key in ("generator", "pin_memory") else value for key, value in kwargs.items()}
        if any(argument.name == "device" for argument in func._schema.arguments):
            kwargs["device"] = "meta"
        size = 0
        with suppress(RuntimeError):  # what depends on its inputs' values is no larger than they are
            size = sum(leaf.numel() for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor))
        if not given:
            self.made += size
            self.made_tensors += 1
        if max(size, self.made) > self.limit or self.made_tensors > self.tensors:
            raise Unfit("its network is far larger than the weights in the file")
