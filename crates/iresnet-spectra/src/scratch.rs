//! Memory that stays with its thread from one layer to the next.
//!
//! A layer's bound takes megabytes in dozens of pieces. Given back to the system they come again page by page, each
//! cleared first, which took a third of the whole time.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

use faer::{MatMut, MatRef};

/// Bytes of each of the four types that a thread keeps at most, for as long as it lives.
const KEPT: usize = 16 << 20;

/// What a thread keeps of one type.
type Shelf<T> = RefCell<Vec<Vec<T>>>;

/// A type whose vectors are kept.
pub(crate) trait Keep: Copy + Default + 'static {
    /// The calling thread's.
    fn shelf() -> &'static LocalKey<Shelf<Self>>;
}

/// Keeps vectors of the given types.
macro_rules! keep {
    ($($type:ty),*) => {
        $(impl $crate::scratch::Keep for $type {
            fn shelf() -> &'static std::thread::LocalKey<std::cell::RefCell<Vec<Vec<Self>>>> {
                thread_local! {
                    static SHELF: std::cell::RefCell<Vec<Vec<$type>>> = const { std::cell::RefCell::new(Vec::new()) };
                }
                &SHELF
            }
        })*
    };
}
pub(crate) use keep;

keep!(f32, f64);

/// A vector that goes back to the shelf of the thread that drops it.
pub(crate) struct Scratch<T: Keep>(Vec<T>);

impl<T: Keep> Scratch<T> {
    /// `len` values, whatever they are.
    pub fn of(len: usize) -> Self {
        let mut values = T::shelf().with_borrow_mut(|shelf| {
            let fitting = shelf.iter().enumerate().filter(|(_, kept)| kept.capacity() >= len);
            let smallest = fitting.min_by_key(|(_, kept)| kept.capacity()).map(|(place, _)| place);
            smallest.map(|place| shelf.swap_remove(place)).unwrap_or_default()
        });
        values.resize(len, T::default());
        Scratch(values)
    }
}

impl<T: Keep> Drop for Scratch<T> {
    fn drop(&mut self) {
        let size = |values: &Vec<T>| values.capacity() * size_of::<T>();
        // A thread that ends has no shelf any more.
        _ = T::shelf().try_with(|shelf| {
            let mut shelf = shelf.borrow_mut();
            if size(&self.0) + shelf.iter().map(size).sum::<usize>() <= KEPT {
                shelf.push(std::mem::take(&mut self.0));
            }
        });
    }
}

impl<T: Keep> Clone for Scratch<T> {
    fn clone(&self) -> Self {
        Scratch(self.0.clone())
    }
}

impl<T: Keep> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Keep> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// A matrix, column by column.
pub(crate) struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: Scratch<f64>,
}

impl Matrix {
    /// With whatever values there are.
    pub fn new(rows: usize, columns: usize) -> Self {
        Matrix { rows, columns, values: Scratch::of(rows * columns) }
    }

    pub fn as_ref(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.values, self.rows, self.columns)
    }

    pub fn as_mut(&mut self) -> MatMut<'_, f64> {
        MatMut::from_column_major_slice_mut(&mut self.values, self.rows, self.columns)
    }
}
