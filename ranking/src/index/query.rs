//! Queries, made ready to be compared with a segment.

use attune_kernels::{Scratch, ScreenQueries};

use super::Segment;
use super::bound::{Cone, Facing, Landmark, Reach, Support};
use super::cluster::largest;
use super::segment::Cluster;
use super::supports::Table;

/// A few queries, in every form that a search needs.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// As levels.
    pub screened: ScreenQueries,
    /// By query.
    pub reach: Vec<Reach>,
    /// By query: the direction that it points in, and what that says.
    landmarks: Vec<Option<(usize, Landmark)>>,
    /// By query: what its landmark leaves.
    rests: Vec<f32>,
    /// By query and cluster: the inner product with the direction.
    along: Vec<f32>,
    /// Of what the landmark leaves.
    along_rest: Vec<f32>,
    levels: Vec<i8>,
    scratch: Scratch,
}

impl Prepared {
    /// Replaces the queries by these rows.
    pub(super) fn set(&mut self, segment: &Segment, queries: &[f32]) {
        let (width, clusters) = (segment.width, segment.clusters.len());
        let (count, level_max) = (queries.len() / width, segment.screened.query_level_max());
        self.levels.resize(queries.len(), 0);
        self.rests.clear();
        self.rests.resize(queries.len(), 0.0);
        self.along.resize(count * clusters, 0.0);
        self.along_rest.resize(count * clusters, 0.0);
        self.reach.clear();
        self.landmarks.clear();
        segment.along(queries, &mut self.along, &mut self.scratch);
        for (number, query) in queries.chunks_exact(width).enumerate() {
            let values = number * width..(number + 1) * width;
            let reach = Reach::quantise(query, level_max, &mut self.levels[values.clone()]);
            let along = &self.along[number * clusters..][..clusters];
            let landmark = (clusters > 0).then(|| largest(along)).and_then(|(nearest, along)| {
                let (direction, rest) = (segment.direction(nearest as usize), &mut self.rests[values]);
                Some((nearest as usize, Landmark::new(query, &reach, direction, along, rest)?))
            });
            self.reach.push(reach);
            self.landmarks.push(landmark);
        }
        if self.landmarks.iter().any(Option::is_some) {
            segment.along(&self.rests, &mut self.along_rest, &mut self.scratch);
        }
        self.screened.set(&segment.screened, &self.levels);
    }

    /// No item of a cluster has a larger score with the query. Rounded up.
    pub(super) fn bounds<'a>(&'a self, segment: &'a Segment, query: usize) -> impl Iterator<Item = f32> + 'a {
        let supports = &segment.supports.of_clusters;
        let bound = move |(number, cluster): (usize, &Cluster)| {
            self.view(segment, supports, query, number).bound(number, &cluster.cone)
        };
        segment.clusters.iter().enumerate().map(bound)
    }

    /// A query before the blocks of a cluster.
    pub(super) fn blocks<'a>(&self, segment: &'a Segment, query: usize, cluster: usize) -> View<'a> {
        self.view(segment, &segment.supports.of_blocks, query, cluster)
    }

    fn view<'a>(&self, segment: &Segment, supports: &'a Table, query: usize, cluster: usize) -> View<'a> {
        let place = query * segment.clusters.len() + cluster;
        // In its own cluster a landmark says nothing new.
        let landmark = self.landmarks[query].filter(|(nearest, _)| *nearest != cluster);
        let sight = match landmark {
            None => Sight::Plain(self.reach[query].facing(self.along[place])),
            Some((nearest, landmark)) => {
                let rest = landmark.facing(self.along_rest[place]);
                Sight::Landmark { landmark, rest, supports: supports.towards(nearest) }
            }
        };
        View { query: query as u32, sight }
    }
}

/// A query as items that follow one direction see it.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// Its number.
    pub query: u32,
    sight: Sight<'a>,
}

/// What a bound follows from. A landmark's is nearly always the lower one, so only that is computed where there is one.
#[derive(Debug)]
enum Sight<'a> {
    Plain(Facing),
    Landmark { landmark: Landmark, rest: Facing, supports: &'a [i8] },
}

impl View<'_> {
    /// No item of a cone has a larger score; `number` is that of its supports. Rounded up.
    pub(super) fn bound(&self, number: usize, cone: &Cone) -> f32 {
        let bound = match &self.sight {
            Sight::Plain(facing) => cone.bound(facing),
            Sight::Landmark { landmark, rest, supports } => landmark.bound(Support(supports[number]), cone, rest),
        };
        (bound as f32).next_up()
    }
}
