// Which lane of a warp holds which element of a matrix instruction's operands: the maps that the
// twins of csrc/cuda/ptx/matrix.h compute by, held against CuTe's layouts in the tests.
#pragma once

namespace ortho::emulation {

struct Element {
  int row, column;
};

// An 8 x 8 matrix of halves, element v of a lane's register (ldmatrix, movmatrix).
constexpr Element Matrix8x8(int lane, int v) { return {lane / 4, lane % 4 * 2 + v}; }

// mma.m16n8k16: halves v of the registers of A (16 x 16) and B (16 x 8), floats v of D (16 x 8).
constexpr Element A16x16(int lane, int v) {
  return {lane / 4 + v / 2 % 2 * 8, lane % 4 * 2 + v % 2 + v / 4 * 8};
}
constexpr Element B16x8(int lane, int v) { return {lane % 4 * 2 + v % 2 + v / 2 * 8, lane / 4}; }
constexpr Element D16x8(int lane, int v) { return {lane / 4 + v / 2 * 8, lane % 4 * 2 + v % 2}; }

// mma.m8n8k4, float64: A (8 x 4), B (4 x 8), D (8 x 8).
constexpr Element A8x4(int lane) { return {lane / 4, lane % 4}; }
constexpr Element B4x8(int lane) { return {lane % 4, lane / 4}; }
constexpr Element D8x8(int lane, int v) { return {lane / 4, lane % 4 * 2 + v}; }

}  // namespace ortho::emulation
