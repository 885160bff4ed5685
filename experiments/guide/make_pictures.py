"""Makes the pictures of the guide, and the outputs of the commands that it shows.

python experiments/guide/make_pictures.py --work FOLDER [--feature-weights FILE]

Runs `pdd adapt`, `pdd upscale` and `pdd export` as a user would, in FOLDER, on the photographs of `pdd demo` (which are
scikit-image's, so that the pictures may be shown) with the small network that comes with the package. Everything that
was typed and printed is written to FOLDER/transcript.txt. Then the adapted network is compared with the generalist on
pairs that neither has seen.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import cv2

import pdd_arch  # noqa: F401  (before basicsr)
from pdd_arch.adaptation.preset import PRESETS
from pdd_arch.commands.demo import MEASURES
from pdd_arch.demo.photographs import SCALE, TARGET_REGIONS, prepare_data, read_pairs
from pdd_arch.demo.picture import comparison_picture
from pdd_arch.inference import TiledUpscaler, load_network
from pdd_arch.inference.methods import bicubic_upscaler
from pdd_arch.metrics.measuring import format_table, measure_methods

GUIDE = Path(__file__).resolve().parent
GENERALIST = 'bundled:demo_generalist.pth'
#: of JPEG: small enough for the repository, and no blocks to be seen
QUALITY = 92


def commands(features: list[str], iterations: int | None) -> list[list[str]]:
    """What a user types, in the order in which it is typed."""
    adapt = ['adapt', 'photographs', '--hr', 'hr', '-o', 'my_camera', '--generalist', GENERALIST]
    return [
        [*adapt, *features, *(['--iterations', str(iterations)] if iterations else [])],
        ['upscale', 'new_photographs', '-o', 'large', '--model', 'my_camera', '--compare', GENERALIST],
        ['export', 'my_camera', '-o', 'exported', '--verify', 'new_photographs'],
    ]


def run(arguments: list[str], folder: Path) -> str:
    """Run a `pdd` command in a folder; what was typed and printed, and how long it took."""
    started = time.monotonic()
    program = [sys.executable, '-c', 'from pdd_arch.commands.pdd_cli import entry_point; entry_point()']
    done = subprocess.run([*program, *arguments], cwd=folder, text=True, stdout=-1, stderr=subprocess.STDOUT)
    seconds = time.monotonic() - started
    text = f'$ pdd {" ".join(arguments)}\n{done.stdout}[exit status {done.returncode}, {seconds:.0f} s]'
    print(text, flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return text


def prepare(folder: Path) -> None:
    """The demo's images under the names that the guide uses."""
    prepare_data(folder / 'demo')
    for name, source in (('photographs', 'target_lr'), ('hr', 'hr'), ('new_photographs', 'test_lr')):
        if not (folder / name).exists():
            (folder / name).symlink_to(folder.resolve() / 'demo' / source)


def compare(folder: Path, iterations: int) -> None:
    """The picture, and a table of the pairs."""
    pairs = read_pairs(folder / 'demo')
    methods = {'bicubic': bicubic_upscaler(SCALE)}
    for name, model in (('generalist', GENERALIST), ('adapted', folder / 'my_camera')):
        network = load_network(model)
        methods[name] = TiledUpscaler(network.net, network.scale)
    outputs, scores = measure_methods(pairs, methods, MEASURES)
    subtitle = (
        f"pdd adapt on the demo's small network: {iterations} iterations on a CPU, from {len(TARGET_REGIONS)} small "
        'photographs without ground truth.\nAll images are held out: neither network was trained on them.'
    )
    picture = comparison_picture(pairs, outputs, scores, subtitle)
    picture.save(GUIDE / 'before_after.jpg', quality=QUALITY, optimize=True)
    preview = cv2.imread(str(folder / 'my_camera' / 'preview.png'))
    cv2.imwrite(str(GUIDE / 'preview.jpg'), preview, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(format_table(scores, MEASURES, 'mean over held-out images'))


def main() -> None:
    """Runs everything; a folder in which it was stopped is continued."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work', type=Path, required=True, metavar='FOLDER')
    parser.add_argument('--feature-weights', type=Path, metavar='FILE', help='of SqueezeNet; default: downloaded')
    parser.add_argument('--iterations', type=int, metavar='N', help='of adaptation (default: of the preset)')
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    prepare(args.work)
    features = []
    if args.feature_weights:
        link = args.work / args.feature_weights.name
        if not link.exists():
            link.symlink_to(args.feature_weights.resolve())
        features = ['--feature-weights', link.name]
    texts = [run(command, args.work) for command in commands(features, args.iterations)]
    (args.work / 'transcript.txt').write_text('\n\n'.join(texts) + '\n', encoding='utf-8')
    compare(args.work, args.iterations or PRESETS['fast'].iterations)


if __name__ == '__main__':
    main()
