// Shapes, dtypes and devices as error messages spell them: the same words as the Python layer's.
#pragma once

#include <cstdint>
#include <string>

#include "ortho/ortho.h"

namespace ortho {

std::string DtypeName(ortho_dtype dtype);                     // "float32"
std::string DeviceName(const ortho_tensor& tensor);           // "cpu", "cuda:0"
std::string TupleText(const int64_t* values, int64_t count);  // "(2, 3)", "(3,)", "()"
std::string ShapeText(const ortho_tensor& tensor);            // of its shape
std::string StridesText(const ortho_tensor& tensor);          // of its strides

// An argument, "x", or one of a list of them, "tensors[3]"; spelled out only where a check fails.
struct ArgumentName {
  const char* name;
  int64_t i = -1;

  ArgumentName(const char* argument) : name(argument) {}  // NOLINT: a name is a name
  ArgumentName(const char* list, int64_t index) : name(list), i(index) {}
  std::string Text() const;
};

}  // namespace ortho
