//! Choice of the compiled level at run time.

use std::sync::OnceLock;

/// Instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has.
    Baseline,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, VL, DQ, BW.
    Avx512,
}

impl Level {
    /// The level in use: the best one there is, or the one that `IRESNET_SIMD` names if the processor has it.
    pub fn current() -> Level {
        static LEVEL: OnceLock<Level> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            let best = Level::available().last().copied().unwrap_or(Level::Baseline);
            let Ok(name) = std::env::var("IRESNET_SIMD") else { return best };
            let named = match name.as_str() {
                "baseline" => Some(Level::Baseline),
                "avx2" => Some(Level::Avx2),
                "avx512" => Some(Level::Avx512),
                _ => None,
            };
            named.filter(|level| *level <= best).unwrap_or_else(|| {
                eprintln!(
                    "IRESNET_SIMD={name} is not baseline, avx2 or avx512, or not of this processor; using {best:?}"
                );
                best
            })
        })
    }

    /// The levels that this processor has, the lowest first.
    pub fn available() -> Vec<Level> {
        let mut levels = vec![Level::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Level::Avx2);
                let avx512 = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw");
                if avx512 {
                    levels.push(Level::Avx512);
                }
            }
        }
        levels
    }
}

/// Defines a function that runs `$inner` compiled for the given level.
///
/// `$inner` is generic over [`crate::simd::Simd`] and must be `#[inline(always)]`, so that each wrapper holds its own copy
/// compiled for its instructions. No arithmetic may hide in a closure: one that is not inlined is compiled without them,
/// at a call an operation.
macro_rules! leveled {
    ($(#[$meta:meta])* $vis:vis fn $name:ident = $inner:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(level: $crate::level::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $inner::<$crate::simd::Avx512>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $inner::<$crate::simd::Avx2>($($arg),*)
                }
                match level {
                    // SAFETY: a level above the baseline only comes from `Level::available`, which detected these
                    // features on this processor.
                    $crate::level::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::level::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::level::Level::Baseline => {}
                }
            }
            _ = level;
            $inner::<$crate::lane::V>($($arg),*)
        }
    };
}
pub(crate) use leveled;

/// Work outside this crate whose instructions are chosen at run time by [`dispatch`].
///
/// `run` and whatever arithmetic it calls must be `#[inline(always)]`, and closures in it small enough to be inlined, as
/// in `leveled!`: other functions are compiled without the level's instructions.
pub trait Leveled {
    /// What the work gives.
    type Output;

    /// Does it. `FUSED` says whether the level multiplies and adds in one instruction; elsewhere `mul_add` is a slow call.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Runs `work` compiled for [`Level::current`].
pub fn dispatch<W: Leveled>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        fn avx512<W: Leveled>(work: W) -> W::Output {
            work.run::<true>()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<W: Leveled>(work: W) -> W::Output {
            work.run::<true>()
        }
        match Level::current() {
            // SAFETY: `Level::current` only names a level that `Level::available` detected on this processor.
            Level::Avx512 => return unsafe { avx512(work) },
            // SAFETY: as above.
            Level::Avx2 => return unsafe { avx2(work) },
            Level::Baseline => {}
        }
    }
    match cfg!(target_arch = "aarch64") {
        true => work.run::<true>(),
        false => work.run::<false>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_told_what_its_level_has() {
        struct Fused;
        impl Leveled for Fused {
            type Output = bool;

            #[inline(always)]
            fn run<const FUSED: bool>(self) -> bool {
                FUSED
            }
        }
        assert_eq!(dispatch(Fused), Level::current() > Level::Baseline || cfg!(target_arch = "aarch64"));
    }
}
