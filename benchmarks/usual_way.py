"""Transfer learning as in most tutorials: the baseline of time_to_accuracy.py and protocol.py.

Frozen VGG16 called in every epoch, Keras augmentation layers, a new head, then block 5 at 1e-5.
Prints one JSON document; with --predictions nothing is validated during training, and the
probabilities of the last state for the second folder are written to a file. Deliberately simple;
tltool uses nothing of it.
"""

import argparse
import functools
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
START = time.perf_counter()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

BATCH = 32


def read_images(folder: str, *, side: int, shuffle: bool, seed: int):
    dataset = keras.utils.image_dataset_from_directory(
        folder, image_size=(side, side), batch_size=BATCH, shuffle=shuffle, seed=seed, verbose=False
    )
    return dataset, len(dataset.class_names), dataset.file_paths


def build(classes: int, weights: str, side: int):
    base = keras.applications.VGG16(include_top=False, weights=weights, input_shape=(side, side, 3))
    base.trainable = False
    images = keras.Input((side, side, 3))
    augmented = layers.RandomFlip("horizontal")(images)
    augmented = layers.RandomRotation(0.05)(augmented)
    augmented = layers.RandomZoom(0.1)(augmented)
    features = base(keras.applications.vgg16.preprocess_input(augmented), training=False)
    pooled = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(features))
    return keras.Model(images, layers.Dense(classes)(pooled)), base


class EpochTimes(keras.callbacks.Callback):
    """Collects the seconds of every epoch, validation included."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)


def train(model, rate: float, epochs: int, train_images, validation):
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    times = EpochTimes()
    history = model.fit(
        train_images, validation_data=validation, epochs=epochs, callbacks=[times], verbose=0
    )
    return history.history, times.seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("validation")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--export")
    parser.add_argument("--predictions")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--head-epochs", type=int, default=10)
    parser.add_argument("--finetune-epochs", type=int, default=5)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    read = functools.partial(read_images, side=args.size, seed=args.seed)
    train_images, classes, _ = read(args.train, shuffle=True)
    images, _, paths = read(args.validation, shuffle=False)
    validation = None if args.predictions else images
    model, base = build(classes, args.weights, args.size)
    ready = time.perf_counter()
    head, head_seconds = train(model, 1e-3, args.head_epochs, train_images, validation)
    base.trainable = True
    for layer in base.layers:
        layer.trainable = layer.name.startswith("block5")
    tail, tail_seconds = train(model, 1e-5, args.finetune_epochs, train_images, validation)
    trained = time.perf_counter()
    if args.predictions:
        logits = keras.ops.softmax(model.predict(images, verbose=0))
        np.savez(args.predictions, paths=paths, probabilities=keras.ops.convert_to_numpy(logits))
        return
    model.export(args.export, verbose=False)
    done = time.perf_counter()
    accuracies = head["val_accuracy"] + tail["val_accuracy"]
    losses = head["val_loss"] + tail["val_loss"]
    best = int(np.argmax(accuracies))
    print(
        json.dumps(
            {
                "start": ready - START,
                "head_epochs": head_seconds,
                "finetune_epochs": tail_seconds,
                "export": done - trained,
                "accuracy": accuracies[best],
                "log_loss": losses[best],
                "accuracy_after_head": head["val_accuracy"][-1],
            }
        )
    )


if __name__ == "__main__":
    main()
