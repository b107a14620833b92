#include "core/words.h"

namespace ortho {

std::string DtypeName(ortho_dtype dtype) {
  const std::string bits = std::to_string(dtype.bits);
  switch (dtype.code) {
    case ORTHO_DTYPE_INT:
      return "int" + bits;
    case ORTHO_DTYPE_UINT:
      return "uint" + bits;
    case ORTHO_DTYPE_FLOAT:
      return "float" + bits;
    case ORTHO_DTYPE_BFLOAT:
      return "bfloat" + bits;
    case ORTHO_DTYPE_COMPLEX:
      return "complex" + bits;
    case ORTHO_DTYPE_BOOL:
      return "bool";
    default:
      return "dtype code " + std::to_string(dtype.code) + " of " + bits + " bits";
  }
}

std::string DeviceName(const ortho_tensor& tensor) {
  switch (tensor.device_type) {
    case ORTHO_DEVICE_CPU:
      return "cpu";
    case ORTHO_DEVICE_CUDA:
      return "cuda:" + std::to_string(tensor.device_id);
    default:
      return "DLPack device " + std::to_string(tensor.device_type) + ":" +
             std::to_string(tensor.device_id);
  }
}

std::string TupleText(const int64_t* values, int64_t count) {
  std::string text = "(";
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(values[i]);
  }
  return text + (count == 1 ? ",)" : ")");
}

std::string ShapeText(const ortho_tensor& tensor) { return TupleText(tensor.shape, tensor.ndim); }

std::string StridesText(const ortho_tensor& tensor) {
  return TupleText(tensor.strides, tensor.ndim);
}

std::string ArgumentName::Text() const {
  return i >= 0 ? std::string(name) + "[" + std::to_string(i) + "]" : name;
}

}  // namespace ortho
