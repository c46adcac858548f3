"""How libraries other than OpenAI's name the arrays of transformers."""

from rclip.models.openai_layout import IMAGE_BLOCKS, TEXT_BLOCKS
from rclip.models.renamed import Origin, Origins

# A block's layers in the towers' names, and the same in each library's.
_OPEN_CLIP = {
    name: name
    for name in (
        "attn.in_proj_weight",
        "attn.in_proj_bias",
        *(f"{layer}.{kind}" for layer in ("attn.out_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj")
          for kind in ("weight", "bias")),
    )
}  # fmt: skip
_TIMM = {
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj": "attn.proj",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TRANSFORMERS = {
    **{f"attn.{part}_proj": f"self_attn.{part}_proj" for part in "qkv"},
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BERT = {
    "attn.q_proj": "attention.self.query",
    "attn.k_proj": "attention.self.key",
    "attn.v_proj": "attention.self.value",
    "attn.out_proj": "attention.output.dense",
    "ln_1": "attention.output.LayerNorm",
    "mlp.c_fc": "intermediate.dense",
    "mlp.c_proj": "output.dense",
    "ln_2": "output.LayerNorm",
}
_DISTILBERT = {
    "attn.q_proj": "attention.q_lin",
    "attn.k_proj": "attention.k_lin",
    "attn.v_proj": "attention.v_lin",
    "attn.out_proj": "attention.out_lin",
    "ln_1": "sa_layer_norm",
    "mlp.c_fc": "ffn.lin1",
    "mlp.c_proj": "ffn.lin2",
    "ln_2": "output_layer_norm",
}


def layer(ours: str, theirs: str) -> Origins:
    """A layer's weight and bias, also where a name is that of one of them."""
    if ours.endswith(("_weight", "_bias", ".weight", ".bias")):
        return {ours: Origin(theirs)}
    return {f"{ours}.{kind}": Origin(f"{theirs}.{kind}") for kind in ("weight", "bias")}


def _blocks(ours: str, theirs: str, count: int, names: dict[str, str]) -> Origins:
    return {
        name: origin
        for number in range(count)
        for mine, its in names.items()
        for name, origin in layer(f"{ours}{number}.{mine}", f"{theirs}{number}.{its}").items()
    }


# --- open_clip and timm ----------------------------------------------------------------------------------------------


def open_clip_text(prefix: str, layers: int, projection: str) -> Origins:
    """The towers' own names, after a prefix."""
    return {
        "token_embedding.weight": Origin(f"{prefix}token_embedding.weight"),
        "positional_embedding": Origin(f"{prefix}positional_embedding"),
        **_blocks(TEXT_BLOCKS, f"{prefix}{TEXT_BLOCKS}", layers, _OPEN_CLIP),
        **layer("ln_final", f"{prefix}ln_final"),
        **_projection(projection, f"{prefix}text_projection"),
    }


def _projection(projection: str, theirs: str) -> Origins:
    """open_clip's: an array of its own, or a linear layer where it has a bias."""
    if projection == "biased":
        return {
            "text_projection": Origin(f"{theirs}.weight", ("T",)),
            "text_projection.bias": Origin(f"{theirs}.bias"),
        }
    return {"text_projection": Origin(theirs)} if projection else {}


def open_clip_image(layers: int, has_pre_norm: bool) -> Origins:
    return {
        **{f"visual.{name}": Origin(f"visual.{name}")
           for name in ("class_embedding", "positional_embedding", "conv1.weight", "proj")},
        **(layer("visual.ln_pre", "visual.ln_pre") if has_pre_norm else {}),
        **_blocks(IMAGE_BLOCKS, IMAGE_BLOCKS, layers, _OPEN_CLIP),
        **layer("visual.ln_post", "visual.ln_post"),
    }  # fmt: skip


def timm_image(layers: int, width: int) -> Origins:
    """A vision transformer with attention pooling, as open_clip has it from timm."""
    trunk, pool = "visual.trunk.", "visual.attention_pool."
    return {
        **layer("visual.conv1", f"{trunk}patch_embed.proj"),
        "visual.positional_embedding": Origin(f"{trunk}pos_embed", ("0",)),
        **_blocks(IMAGE_BLOCKS, f"{trunk}blocks.", layers, _TIMM),
        **layer("visual.ln_post", f"{trunk}norm"),
        f"{pool}latent": Origin(f"{trunk}attn_pool.latent", (f"{width},",)),
        **layer(f"{pool}attn.q_proj", f"{trunk}attn_pool.q"),
        **{
            f"{pool}attn.{part}_proj.{kind}": Origin(f"{trunk}attn_pool.kv.{kind}", (rows,))
            for part, rows in (("k", f"0:{width}"), ("v", f"{width}:{2 * width}"))
            for kind in ("weight", "bias")
        },
        **layer(f"{pool}attn.out_proj", f"{trunk}attn_pool.proj"),
        **layer(f"{pool}ln", f"{trunk}attn_pool.norm"),
        **layer(f"{pool}mlp.c_fc", f"{trunk}attn_pool.mlp.fc1"),
        **layer(f"{pool}mlp.c_proj", f"{trunk}attn_pool.mlp.fc2"),
    }


# --- transformers ----------------------------------------------------------------------------------------------------


def transformers_text(layers: int) -> Origins:
    """Of a CLIP or SigLIP, but for the projection."""
    return {
        "token_embedding.weight": Origin("text_model.embeddings.token_embedding.weight"),
        "positional_embedding": Origin("text_model.embeddings.position_embedding.weight"),
        **_blocks(TEXT_BLOCKS, "text_model.encoder.layers.", layers, _TRANSFORMERS),
        **layer("ln_final", "text_model.final_layer_norm"),
    }


def transformers_image(layers: int) -> Origins:
    """Of a CLIP or SigLIP: what both have."""
    return {
        "visual.positional_embedding": Origin("vision_model.embeddings.position_embedding.weight"),
        "visual.conv1.weight": Origin("vision_model.embeddings.patch_embedding.weight"),
        **_blocks(IMAGE_BLOCKS, "vision_model.encoder.layers.", layers, _TRANSFORMERS),
        **layer("visual.ln_post", "vision_model.post_layernorm"),
    }


def transformers_pool(width: int) -> Origins:
    """A SigLIP's attention pooling."""
    pool, head = "visual.attention_pool.", "vision_model.head."
    return {
        f"{pool}latent": Origin(f"{head}probe", (f"{width},",)),
        **{
            f"{pool}attn.{part}_proj.{kind}": Origin(
                f"{head}attention.in_proj_{kind}", (f"{place * width}:{(place + 1) * width}",)
            )
            for place, part in enumerate("qkv")
            for kind in ("weight", "bias")
        },
        **layer(f"{pool}attn.out_proj", f"{head}attention.out_proj"),
        **layer(f"{pool}ln", f"{head}layernorm"),
        **layer(f"{pool}mlp.c_fc", f"{head}mlp.fc1"),
        **layer(f"{pool}mlp.c_proj", f"{head}mlp.fc2"),
    }


def bert(prefix: str, layers: int, context_length: int, first_position: int) -> Origins:
    """BERT and its kin, but for the projection. Position 0 of a text is at `first_position` of the embedding."""
    embeddings = f"{prefix}embeddings."
    rows = f"{first_position}:{first_position + context_length}"
    return {
        "token_embedding.weight": Origin(f"{embeddings}word_embeddings.weight"),
        "positional_embedding": Origin(f"{embeddings}position_embeddings.weight", (rows,)),
        "token_type_embedding": Origin(f"{embeddings}token_type_embeddings.weight", ("0",)),
        **layer("ln_embedding", f"{embeddings}LayerNorm"),
        **_blocks(TEXT_BLOCKS, f"{prefix}encoder.layer.", layers, _BERT),
    }


def distilbert(prefix: str, layers: int, context_length: int) -> Origins:
    embeddings = f"{prefix}embeddings."
    return {
        "token_embedding.weight": Origin(f"{embeddings}word_embeddings.weight"),
        "positional_embedding": Origin(f"{embeddings}position_embeddings.weight", (f"0:{context_length}",)),
        **layer("ln_embedding", f"{embeddings}LayerNorm"),
        **_blocks(TEXT_BLOCKS, f"{prefix}transformer.layer.", layers, _DISTILBERT),
    }
