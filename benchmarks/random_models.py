"""Models of the right shape with random weights, which take as long as trained ones: no benchmark needs a download.

    random_models.py checkpoint FILE   a ViT-B/32 as OpenAI publishes them: a state dict, most of it float16
    random_models.py onnx FOLDER       what rclip 4.0.8 would download: visual.onnx, textual.onnx, the vocabulary

The second follows that program's own `scripts/convert_model.py`: the TorchScript exporter, opset 18, float32, "input"
and "output" with a free batch dimension. Its model is OpenCLIP's ViT-B-32-256, which differs from CLIP's ViT-B/32 in
taking 256 pixels (64 patches for 49) and in the plain GELU. Needs the `onnx` package.
"""

import os
import shutil
import sys
import warnings

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # clip imports pkg_resources, which says that it is deprecated
    import clip.model

_OPSET = 18


def main(kind: str, target: str) -> None:
    torch.manual_seed(0)
    {"checkpoint": write_checkpoint, "onnx": write_onnx}[kind](target)


def write_checkpoint(path: str) -> None:
    model = _clip(resolution=224)
    clip.model.convert_weights(model)
    torch.save(model.state_dict(), path)


def write_onnx(folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(os.path.dirname(clip.model.__file__), "bpe_simple_vocab_16e6.txt.gz"), folder)
    model = _clip(resolution=256)
    for block in (*model.visual.transformer.resblocks, *model.transformer.resblocks):
        block.mlp.gelu = torch.nn.GELU()
    _export(model.visual, torch.zeros(1, 3, 256, 256), os.path.join(folder, "visual.onnx"))
    _export(_TextTower(model), torch.zeros(1, 77, dtype=torch.long), os.path.join(folder, "textual.onnx"))


def _clip(resolution: int) -> clip.model.CLIP:
    """ViT-B/32: 12 layers of width 768 for pictures, 12 of 512 with 8 heads for text, vectors of 512."""
    return clip.model.CLIP(512, resolution, 12, 768, 32, 77, 49408, 512, 8, 12).eval()


class _TextTower(torch.nn.Module):
    def __init__(self, model: clip.model.CLIP):
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model.encode_text(tokens)


def _export(tower: torch.nn.Module, example: torch.Tensor, path: str) -> None:
    torch.backends.mha.set_fastpath_enabled(False)  # its fused kernels have no ONNX counterpart
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            tower.eval(),
            (example,),
            path,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
