//! Pages over parts in memory that can be broken: what each row holds, what a broken part does to a page, and that no
//! page ever holds what its viewer may not see.

mod faults;
mod never_ineligible;
mod pages;
mod scene;
