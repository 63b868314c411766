"""
Wrote the checkpoints in this folder, with TensorFlow 2.21.0 (`tensorflow-cpu`), as the authors of ELECTRA and BERT saved theirs:

    python tests/conversion/tensorflow_checkpoints/write_checkpoints.py

Variables have the names and shapes of google-research/electra (model/modeling.py, run_pretraining.py) and google-research/bert
(modeling.py, run_pretraining.py), in sizes of a few numbers; their values are random. `as_tensorflow_reads_it.safetensors` holds
what TensorFlow's own reader gives back. No test runs this file.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent
VOCAB, POSITIONS, TYPES, EMBEDDING, HIDDEN, GENERATOR = 30, 20, 2, 6, 8, 4


def dense(name: str, width: int, outputs: int) -> dict:
    return {f"{name}/kernel": (width, outputs), f"{name}/bias": (outputs,)}


def norm(name: str, width: int) -> dict:
    return {f"{name}/beta": (width,), f"{name}/gamma": (width,)}


def embeddings(scope: str, width: int) -> dict:
    return {
        f"{scope}/embeddings/word_embeddings": (VOCAB, width),
        f"{scope}/embeddings/position_embeddings": (POSITIONS, width),
        f"{scope}/embeddings/token_type_embeddings": (TYPES, width),
        **norm(f"{scope}/embeddings/LayerNorm", width),
    }


def encoder(scope: str, width: int, num_layers: int) -> dict:
    shapes = {}
    for layer_idx in range(num_layers):
        layer = f"{scope}/encoder/layer_{layer_idx}"
        for name in ("query", "key", "value"):
            shapes |= dense(f"{layer}/attention/self/{name}", width, width)
        shapes |= dense(f"{layer}/attention/output/dense", width, width)
        shapes |= norm(f"{layer}/attention/output/LayerNorm", width)
        shapes |= dense(f"{layer}/intermediate/dense", width, 4 * width)
        shapes |= dense(f"{layer}/output/dense", 4 * width, width) | norm(f"{layer}/output/LayerNorm", width)
    return shapes


ELECTRA = {
    **embeddings("electra", EMBEDDING),
    **dense("electra/embeddings_project", EMBEDDING, HIDDEN),
    **encoder("electra", HIDDEN, 2),
    **dense("discriminator_predictions/dense", HIDDEN, HIDDEN),
    **dense("discriminator_predictions/dense_1", HIDDEN, 1),
    **dense("generator/embeddings_project", EMBEDDING, GENERATOR),
    **encoder("generator", GENERATOR, 2),
    **dense("generator_predictions/dense", GENERATOR, EMBEDDING),
    **norm("generator_predictions/LayerNorm", EMBEDDING),
    "generator_predictions/output_bias": (VOCAB,),
}
BERT = {
    **embeddings("bert", HIDDEN),
    **encoder("bert", HIDDEN, 1),
    **dense("bert/pooler/dense", HIDDEN, HIDDEN),
    **dense("cls/predictions/transform/dense", HIDDEN, HIDDEN),
    **norm("cls/predictions/transform/LayerNorm", HIDDEN),
    "cls/predictions/output_bias": (VOCAB,),
    "cls/seq_relationship/output_weights": (2, HIDDEN),
    "cls/seq_relationship/output_bias": (2,),
}


def write(folder: Path, name: str, shapes: dict, with_optimizer: bool) -> None:
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    values = {
        variable: rng.normal(scale=0.4, size=shape).astype("float32") + variable.endswith("gamma")
        for variable, shape in sorted(shapes.items())
    }
    if with_optimizer:  # of two variables only, to keep the file small
        for variable in ("electra/embeddings/word_embeddings", "generator_predictions/output_bias"):
            values |= {f"{variable}/{slot}": np.zeros(shapes[variable], "float32") for slot in ("adam_m", "adam_v")}
    with tf.Graph().as_default(), tf.Session() as session:
        for variable, value in values.items():
            tf.get_variable(variable, initializer=value.astype("float32"))
        step = tf.train.get_or_create_global_step() if with_optimizer else None
        session.run(tf.global_variables_initializer())
        if step is not None:
            session.run(step.assign(1000))
        saver = tf.train.Saver(save_relative_paths=True)
        path = saver.save(session, str(folder / name), global_step=step, write_meta_graph=False)
    reader = tf.train.load_checkpoint(path)
    read = {variable: np.asarray(reader.get_tensor(variable)) for variable in reader.get_variable_to_shape_map()}
    save_file(read, folder / "as_tensorflow_reads_it.safetensors")


if __name__ == "__main__":
    write(FOLDER / "electra", "model.ckpt", ELECTRA, with_optimizer=True)
    write(FOLDER / "bert", "bert_model.ckpt", BERT, with_optimizer=False)
