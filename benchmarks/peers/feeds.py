"""Batches of augmented 32x32 images as PyTorch trainings read them: cropped from 4 pixels of padding, mirrored, normalised.

Images are noise in memory, as in `rld bench epoch`; both feeds do the same to them.
"""

import torch

MEAN = (0.5071, 0.4867, 0.4408)
DEVIATION = (0.2675, 0.2565, 0.2761)
SIDE, PADDING = 32, 4


class Images(torch.utils.data.Dataset):
    """One image at a time, by the processes of a DataLoader: the usual way."""

    def __init__(self, pixels, labels):
        self.pixels, self.labels = pixels, labels
        self.mean = torch.tensor(MEAN)[:, None, None]
        self.deviation = torch.tensor(DEVIATION)[:, None, None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = torch.nn.functional.pad(self.pixels[index], [PADDING] * 4)
        y, x = torch.randint(0, 2 * PADDING + 1, (2,)).tolist()
        image = image[:, y : y + SIDE, x : x + SIDE]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image.float() / 255 - self.mean) / self.deviation, self.labels[index]


class Tensors:
    """A whole batch at a time on the device, all images being there."""

    def __init__(self, pixels, labels, batch, device):
        self.pixels = torch.nn.functional.pad(pixels, [PADDING] * 4).to(device)
        self.labels, self.batch, self.device = labels.to(device), batch, device
        self.mean = torch.tensor(MEAN, device=device)[:, None, None]
        self.deviation = torch.tensor(DEVIATION, device=device)[:, None, None]

    def __iter__(self):
        order = torch.randperm(len(self.labels), device=self.device)
        line = torch.arange(SIDE, device=self.device)
        channels = torch.arange(3, device=self.device)[:, None, None]
        for chosen in order.split(self.batch):
            count = len(chosen)
            y, x = torch.randint(0, 2 * PADDING + 1, (2, count, 1), device=self.device)
            mirrored = torch.rand(count, 1, device=self.device) < 0.5
            columns = x + torch.where(mirrored, SIDE - 1 - line, line)
            images = self.pixels[
                chosen[:, None, None, None], channels, (y + line)[:, None, :, None], columns[:, None, None, :]]
            yield (images.float() / 255 - self.mean) / self.deviation, self.labels[chosen]


def feed(kind, count, batch, classes, device, workers):
    """Something that gives the batches of an epoch each time it is gone through."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    if kind == "tensors":
        return Tensors(pixels, labels, batch, device)
    return torch.utils.data.DataLoader(
        Images(pixels, labels), batch_size=batch, shuffle=True, drop_last=True, num_workers=workers,
        pin_memory=device == "cuda", persistent_workers=workers > 0)
