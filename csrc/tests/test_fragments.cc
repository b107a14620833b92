// The emulator's fragment maps against CuTe's: an independent statement, by the maker of the
// hardware, of which lane holds what. CuTe numbers the elements of operands by columns (A and D by
// row + rows x column, B by column + columns x row) and those of 8 x 8 matrices by bits, by rows.
#include <cute/atom/copy_traits_sm75.hpp>
#include <cute/atom/mma_traits_sm80.hpp>
#include <cute/tensor.hpp>

#include "check.h"
#include "emulation/fragments.h"

namespace ortho::test {
namespace {

using emulation::Element;

void CheckElement(const char* what, int lane, int v, Element ours, int row, int column) {
  CHECK(ours.row == row && ours.column == column,
        "%s: lane %d value %d is (%d, %d), CuTe's (%d, %d)", what, lane, v, ours.row, ours.column,
        row, column);
}

// `ours` for every lane and value of an operand that CuTe lays out so, `rows` of them in a column.
template <typename Layout, typename Map>
void CheckOperand(const char* what, const Layout& layout, int rows, bool transposed,
                  const Map& ours) {
  for (int lane = 0; lane < 32; ++lane)
    for (int v = 0; v < int(cute::size<1>(layout)); ++v) {
      const int index = int(layout(lane, v)), fast = index % rows, slow = index / rows;
      CheckElement(what, lane, v, ours(lane, v), transposed ? slow : fast,
                   transposed ? fast : slow);
    }
}

void TestHalves() {
  using Traits = cute::MMA_Traits<cute::SM80_16x8x16_F32F16F16F32_TN>;
  CheckOperand("A, 16 x 16", Traits::ALayout{}, 16, false, emulation::A16x16);
  CheckOperand("B, 16 x 8", Traits::BLayout{}, 8, true, emulation::B16x8);
  CheckOperand("D, 16 x 8", Traits::CLayout{}, 16, false, emulation::D16x8);
}

void TestDoubles() {
  using Traits = cute::MMA_Traits<cute::SM80_8x8x4_F64F64F64F64_TN>;
  CheckOperand("A, 8 x 4", Traits::ALayout{}, 8, false,
               [](int lane, int) { return emulation::A8x4(lane); });
  CheckOperand("B, 4 x 8", Traits::BLayout{}, 8, true,
               [](int lane, int) { return emulation::B4x8(lane); });
  CheckOperand("D, 8 x 8", Traits::CLayout{}, 8, false, emulation::D8x8);
}

// Registers of 8 x 8 matrices, `registers` a lane; CuTe's layouts go from (lane, bit) to a bit.
template <typename Layout>
void CheckMatrices(const char* what, const Layout& layout, int registers, bool transposed) {
  for (int lane = 0; lane < 32; ++lane)
    for (int r = 0; r < registers; ++r)
      for (int v = 0; v < 2; ++v) {
        const int half = int(layout(lane, r * 32 + v * 16)) / 16;
        CHECK(half / 64 == r, "%s: register %d holds matrix %d", what, r, half / 64);
        const int row = half % 64 / 8, column = half % 8;
        CheckElement(what, lane, v, emulation::Matrix8x8(lane, v), transposed ? column : row,
                     transposed ? row : column);
      }
}

void TestMatrices() {
  using Load = cute::Copy_Traits<cute::SM75_U32x4_LDSM_N>;
  using LoadTransposed = cute::Copy_Traits<cute::SM75_U16x8_LDSM_T>;
  CheckMatrices("ldmatrix", Load::DstLayout{}, 4, false);
  CheckMatrices("ldmatrix.trans", LoadTransposed::DstLayout{}, 4, true);
  for (int lane = 0; lane < 32; ++lane)  // whose address is which row's
    CHECK(int(Load::SrcLayout{}(lane, 0)) == lane * 128, "ldmatrix: row of lane %d", lane);
}

}  // namespace
}  // namespace ortho::test

int main() {
  ortho::test::TestHalves();
  ortho::test::TestDoubles();
  ortho::test::TestMatrices();
  return ortho::test::Result();
}
