// Atomic functions. Acquire and release here: more than a device promises, so that TSan takes "the
// last block by an atomic" for ordered, __threadfence or not.
#pragma once

#include <type_traits>

namespace simt {

// Replaces *p by change(*p); returns the old value.
template <class T, class F>
T AtomicChange(T* p, F change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  T before;
  T after;
  __atomic_load(p, &before, __ATOMIC_ACQUIRE);
  do {
    after = change(before);
  } while (
      !__atomic_compare_exchange(p, &before, &after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  return before;
}

}  // namespace simt

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T before) { return static_cast<T>(before + v); });
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T before) { return static_cast<T>(before - v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T before) { return before > v ? before : v; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T before) { return before < v ? before : v; });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T before) { return before & v; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T before) { return before | v; });
}
template <class T>
T atomicXor(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T before) { return before ^ v; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return simt::AtomicChange(p, [=](T before) { return before == expected ? v : before; });
}
inline unsigned atomicInc(unsigned* p, unsigned last) {
  return simt::AtomicChange(p, [last](unsigned n) { return n >= last ? 0u : n + 1; });
}
inline unsigned atomicDec(unsigned* p, unsigned last) {
  return simt::AtomicChange(p, [last](unsigned n) { return n == 0 || n > last ? last : n - 1; });
}
