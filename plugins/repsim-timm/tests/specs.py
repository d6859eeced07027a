"""Print small members to try, one of them from a file."""

import sys
from pathlib import Path

import timm
from safetensors.torch import save_file

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
weights = folder / "model.safetensors"
save_file(timm.create_model("test_resnet").state_dict(), weights)
print("timm/test_resnet")
print("timm/test_vit:img_size=32:patch_size=4")
print(f"timm/test_resnet:weights={weights}")
