// Shapes, dtypes and devices as error messages spell them: the same words as the Python layer's.
#pragma once

#include <string>

#include "ortho/ortho.h"

namespace ortho {

std::string DtypeName(ortho_dtype dtype);                          // "float32"
std::string DeviceName(const ortho_tensor& tensor);                // "cpu", "cuda:0"
std::string TupleText(const int64_t* values, int64_t count);       // "(2, 3)", "(3,)", "()"
std::string ShapeText(const ortho_tensor& tensor);                 // of its shape
std::string StridesText(const ortho_tensor& tensor);               // of its strides
std::string ArgumentName(const char* name, bool many, int64_t i);  // "x", or "tensors[3]"

}  // namespace ortho
