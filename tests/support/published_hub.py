"""Stand-ins for published models, under their names and in their layouts, really trained: seconds each family.

Llama: transformers' own class and sharding, Code Llama with a larger vocabulary. Stable Diffusion: a pipeline folder
with a denoiser whose tensors are named as diffusers names them, trained to remove noise from procedural images. VTHR:
flat repositories of one Vision Transformer, five roots with two children each, whose cards name their base.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, ViTConfig, ViTForImageClassification

from modelkin.demo.corpus import text_of
from modelkin.demo.making import quiet
from modelkin.demo.training import CONTEXT_BYTES, Schedule, reproducible, train
from scripts.training.images import ImageTask, draw_images

Parents = Mapping[str, str | None]

BYTES, MORE_BYTES = 256, 264
"""Vocabularies: Code Llama added 16 tokens to the 32,000 of Llama 2."""

LLAMAS = {
    "meta-llama/Llama-2-7b-hf": (None, BYTES, "reference"),
    "meta-llama/Llama-2-7b-chat-hf": ("meta-llama/Llama-2-7b-hf", BYTES, "graphs"),
    "codellama/CodeLlama-7b-hf": ("meta-llama/Llama-2-7b-hf", MORE_BYTES, "code"),
    "codellama/CodeLlama-7b-Instruct-hf": ("codellama/CodeLlama-7b-hf", MORE_BYTES, "statistics"),
    "codellama/CodeLlama-7b-Python-hf": ("codellama/CodeLlama-7b-hf", BYTES, "layers"),
}
"""Parent, vocabulary and text by repository, parents first."""

V1, V2, V3, V4 = (f"CompVis/stable-diffusion-v1-{number}" for number in (1, 2, 3, 4))
DIFFUSERS: Parents = {V1: None, V2: V1, V3: V2, V4: V2, "runwayml/stable-diffusion-v1-5": V2}

IMAGE_SIDE = 16
CHANNELS = 24
TREES = 5


def write_llamas(folder: Path) -> Path:
    """The five models in shards, with their index."""
    models: dict[str, LlamaForCausalLM] = {}
    with quiet():
        for number, (repo_id, (parent, vocabulary, domain)) in enumerate(LLAMAS.items()):
            with reproducible(number):
                model = _llama() if parent is None else copy.deepcopy(models[parent])
                if model.config.vocab_size != vocabulary:
                    model.resize_token_embeddings(vocabulary, mean_resizing=False)
                steps, rate = (300, 3e-3) if parent is None else (120, 1e-3)
                train(model, text_of(domain), Schedule(steps, rate, number))
            models[repo_id] = model
            model.save_pretrained(folder / repo_id, max_shard_size="300KB")
    return folder


def write_diffusers(folder: Path) -> Path:
    """Pipeline folders; encoder and VAE are shared by all, as they are by those published."""
    shared = {"weight": torch.randn(32, 32, generator=torch.Generator().manual_seed(0))}
    models: dict[str, Denoiser] = {}
    for number, (repo_id, parent) in enumerate(DIFFUSERS.items()):
        with reproducible(number):
            model = Denoiser() if parent is None else copy.deepcopy(models[parent])
            steps, rate = (300, 2e-3) if parent is None else (120, 1e-3)
            _denoise(model, steps=steps, rate=rate, seed=number)
        models[repo_id] = model
        home = folder / repo_id
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        _part(home / "unet", "diffusion_pytorch_model.safetensors", weights)
        _part(home / "vae", "diffusion_pytorch_model.safetensors", shared)
        _part(home / "text_encoder", "model.safetensors", shared)
        (home / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
        save_file(shared, home / "v1-pruned-emaonly.safetensors")
    return folder


def write_vthr(folder: Path) -> dict[str, str | None]:
    """Five roots with two children each, with cards; returns every model's parent."""
    parents: dict[str, str | None] = {}
    with quiet():
        for tree in range(TREES):
            root_id = f"MoTHer-VTHR/VTHR-FT-ModelTree_{tree}-Depth_0-Node_0"
            root = _trained(_vit(tree), task=tree, seed=10 * tree, steps=150, rate=3e-3)
            parents[root_id] = None
            root.save_pretrained(folder / root_id)
            for child in (1, 2):
                repo_id = f"MoTHer-VTHR/VTHR-FT-ModelTree_{tree}-Depth_1-Node_{child}"
                task = 100 + 10 * tree + child
                model = _trained(copy.deepcopy(root), task=task, seed=task, steps=80, rate=1e-3)
                model.save_pretrained(folder / repo_id)
                (folder / repo_id / "README.md").write_text(f"---\nbase_model: {root_id}\n---\n")
                parents[repo_id] = root_id
    return parents


def _llama() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=BYTES, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=2 * CONTEXT_BYTES, bos_token_id=0, eos_token_id=0,
            tie_word_embeddings=False,
        )
    )  # fmt: skip


class _Resnet(nn.Module):
    """Two convolutions with the time between them, and a way past."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, CHANNELS), nn.GroupNorm(4, CHANNELS)
        self.conv1, self.conv2 = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
        self.time_emb_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x))) + self.time_emb_proj(time)[:, :, None, None]
        return x + self.conv2(functional.silu(self.norm2(inner)))


class _Attention(nn.Module):
    """Self-attention between pixels, in one head."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(CHANNELS, CHANNELS, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(CHANNELS, CHANNELS)])

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)  # (images, pixels, channels)
        mixed = functional.scaled_dot_product_attention(self.to_q(pixels), self.to_k(pixels), self.to_v(pixels))
        return x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([_Resnet()])
        attention = nn.Module()
        attention.transformer_blocks = nn.ModuleList([nn.ModuleDict({"attn1": _Attention()})])
        self.attentions = nn.ModuleList([attention])

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.attentions[0].transformer_blocks[0]["attn1"](self.resnets[0](x, time))


class Denoiser(nn.Module):
    """A U of three blocks, tensors named as in diffusers' UNet2DConditionModel; it predicts the noise in an image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.time_embedding = nn.ModuleDict({"linear_1": nn.Linear(1, CHANNELS)})
        self.down_blocks, self.up_blocks = nn.ModuleList([_Block()]), nn.ModuleList([_Block()])
        self.mid_block = _Block()
        self.conv_norm_out = nn.GroupNorm(4, CHANNELS)
        self.conv_out = nn.Conv2d(CHANNELS, 3, 3, padding=1)

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        time = functional.silu(self.time_embedding["linear_1"](share))
        high = self.down_blocks[0](self.conv_in(x), time)
        low = self.mid_block(functional.avg_pool2d(high, 2), time)
        joined = self.up_blocks[0](high + functional.interpolate(low, scale_factor=2.0), time)
        return self.conv_out(functional.silu(self.conv_norm_out(joined)))


def _denoise(model: Denoiser, *, steps: int, rate: float, seed: int) -> None:
    images = torch.from_numpy(draw_images(256, size=IMAGE_SIDE // 2, seed=seed, style=seed).pixels)
    for batch in _steps(model, images, steps=steps, rate=rate, seed=seed):
        noise, share = torch.randn(batch.shape), torch.rand(len(batch), 1)
        mixed = (1 - share).sqrt()[:, :, None, None] * batch + share.sqrt()[:, :, None, None] * noise
        functional.mse_loss(model(mixed, share), noise).backward()


def _steps(model: nn.Module, images: Tensor, *, steps: int, rate: float, seed: int) -> Iterator[Tensor]:
    """Random batches; whoever takes one adds gradients before the next is asked for."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        yield images[torch.randint(len(images), (16,), generator=generator)]
        optimizer.step()
        schedule.step()


def _vit(seed: int) -> ViTForImageClassification:
    with reproducible(seed):
        return ViTForImageClassification(
            ViTConfig(
                hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
                image_size=IMAGE_SIDE, patch_size=4, num_labels=8,
            )
        )  # fmt: skip


def _trained(
    model: ViTForImageClassification, *, task: int, seed: int, steps: int, rate: float
) -> ViTForImageClassification:
    images, labels = ImageTask(task).draw(512, size=IMAGE_SIDE, seed=seed)
    pixels, classes = torch.from_numpy(images.pixels), torch.from_numpy(labels)
    places = torch.arange(len(pixels))
    with reproducible(seed):
        for batch in _steps(model, places, steps=steps, rate=rate, seed=seed):
            functional.cross_entropy(model(pixel_values=pixels[batch]).logits, classes[batch]).backward()
    return model


def _part(folder: Path, name: str, weights: Mapping[str, Tensor]) -> None:
    folder.mkdir(parents=True)
    save_file(dict(weights), folder / name)
    (folder / "config.json").write_text("{}")
