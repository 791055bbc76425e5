"""Build ICC profiles like those of scanners: one large table."""

import struct

import numpy as np

WHITE_POINT = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)


def scanner_profile(lab, grid=33, intent=0):
    """Return a scanner-like profile: one large 16-bit table; `lab` is (grid³, 3), red slowest."""
    levels = np.clip(np.rint(np.stack([lab[:, 0] * 652.8, *(lab[:, 1:] + 128).T * 256], axis=1)), 0, 65535)
    table = b"mft2" + bytes(4) + bytes([3, 3, grid, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += struct.pack(">HH", 2, 2) + struct.pack(">HH", 0, 65535) * 3 + levels.astype(">u2").tobytes()
    table += struct.pack(">HH", 0, 65535) * 3
    described = b"desc" + bytes(4) + struct.pack(">I", 8) + b"Scanner\0" + bytes(80)
    parts = {
        b"desc": described,
        b"cprt": b"text" + bytes(4) + b"Lamp\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + WHITE_POINT,
        b"A2B0": table + bytes(-len(table) % 4),
    }
    at, entries = 132 + 12 * len(parts), struct.pack(">I", len(parts))
    for name, part in parts.items():
        entries += name + struct.pack(">II", at, len(part))
        at += len(part)
    header = bytearray(128)
    header[:4], header[8:24] = struct.pack(">I", at), b"\x02\x40\0\0scnrRGB Lab "
    header[24:36] = struct.pack(">6H", 2006, 9, 8, 14, 33, 0)
    header[36:40], header[64:68], header[68:80] = b"acsp", struct.pack(">I", intent), WHITE_POINT
    return bytes(header) + entries + b"".join(parts.values())


def lattice(grid=33):
    axis = np.linspace(0, 1, grid)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def scanner_lab(rgb):
    """Return the colours of a lamp: curves that differ by channel, tinted shadows, neutral black and white."""
    red, green, blue = (rgb ** [1.1, 0.95, 1.0]).T
    light = 100 * (0.25 * red + 0.6 * green + 0.15 * blue)
    tint = 6 * np.sin(np.pi * rgb.mean(axis=1)) ** 2
    return np.stack([light, 110 * (red - green) - tint, 90 * (0.5 * red + 0.5 * green - blue) + tint], axis=1)


LARGE = scanner_profile(scanner_lab(lattice()))
