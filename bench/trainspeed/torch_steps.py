"""Training steps in PyTorch, asked for on standard input: a line with a number
is answered with the seconds of as many steps. Arguments: network, batch,
threads, memory format."""
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


def conv_bn(cin, cout, k, stride=1, groups=1):
    return [nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(cout)]


class Basic(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.body = nn.Sequential(*conv_bn(cin, cout, 3, stride), nn.ReLU(inplace=True), *conv_bn(cout, cout, 3))
        self.short = nn.Sequential(*conv_bn(cin, cout, 1, stride)) if stride > 1 or cin != cout else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x), inplace=True)


def resnet20():
    layers, cin = [*conv_bn(3, 16, 3), nn.ReLU(inplace=True)], 16
    for cout, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            layers.append(Basic(cin, cout, stride if i == 0 else 1))
            cin = cout
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Inverted(nn.Module):
    def __init__(self, cin, cout, stride, expand):
        super().__init__()
        mid = cin * expand
        body = [] if expand == 1 else [*conv_bn(cin, mid, 1), nn.ReLU6(inplace=True)]
        body += [*conv_bn(mid, mid, 3, stride, mid), nn.ReLU6(inplace=True), *conv_bn(mid, cout, 1)]
        self.body, self.add = nn.Sequential(*body), stride == 1 and cin == cout

    def forward(self, x):
        return x + self.body(x) if self.add else self.body(x)


def mobilenetv2():
    layers, cin = [*conv_bn(3, 32, 3), nn.ReLU6(inplace=True)], 32
    for expand, cout, repeat, stride in ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(repeat):
            layers.append(Inverted(cin, cout, stride if i == 0 else 1, expand))
            cin = cout
    layers += [*conv_bn(320, 1280, 1), nn.ReLU6(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10))


class Encoder(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(self.n1(x)).reshape(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, w)
        x = x + self.out(a)
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self, width=192, heads=3, hidden=768, layers=6, size=4, tokens=65):
        super().__init__()
        self.embed = nn.Conv2d(3, width, size, size)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.body = nn.Sequential(*[Encoder(width, heads, hidden) for _ in range(layers)], nn.LayerNorm(width))
        self.fc = nn.Linear(width, 10)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.fc(self.body(x)[:, 0])


NETS = {"resnet20": resnet20, "mobilenetv2": mobilenetv2, "vit-tiny": ViT}


def main():
    name, batch, threads, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    form = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[memory]
    net = NETS[name]().to(memory_format=form).train()
    x = torch.randn(batch, 3, 32, 32).to(memory_format=form)
    y = torch.arange(batch) % 10
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4)
    print(json.dumps({"torch": torch.__version__, "parameters": sum(p.numel() for p in net.parameters())}), flush=True)
    for line in sys.stdin:
        took = []
        for _ in range(int(line)):
            start = time.perf_counter()
            opt.zero_grad(set_to_none=True)
            F.cross_entropy(net(x), y).backward()
            opt.step()
            took.append(time.perf_counter() - start)
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
