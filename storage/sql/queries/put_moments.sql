INSERT INTO store.moment
SELECT
    unnest($hub_id::VARCHAR[]), $evidence, unnest($layer::VARCHAR[]), unnest($count::DOUBLE[]), unnest($mean::DOUBLE[]),
    unnest($variance::DOUBLE[]), unnest($skewness::DOUBLE[]), unnest($kurtosis::DOUBLE[]), unnest($entropy::DOUBLE[]),
    unnest($minimum::DOUBLE[]), unnest($maximum::DOUBLE[]), unnest($zeros::DOUBLE[])
