"""`python -m ortho_kernels` prints what this installation can do."""

from ortho_kernels.build_info import build_info


def main() -> None:
    facts = build_info()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()
